// The engine's threads: one pool a process, lent to whoever has work. pool.cpp says how it works.
#pragma once

#include <type_traits>

namespace iqe {

struct Pool;
struct Slot;

// A pool that is made after this counts at most so many cores: what a CPU quota leaves of the affinity, which it sees itself.
void set_most_cores(int cores);

// A call's threads: the caller, and those of the process's pool that join it while it lives. One thread makes it, runs it and
// ends it; other threads make their own. A task may make a Team of its own, but neither run the one it belongs to nor fork().
class Team {
 public:
  // At most `threads` threads, the caller included, work on what the team runs. 1: the caller alone, the pool is not touched.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Calls fn(work, i) once for each i in [0, tasks), lowest first, and returns when all have returned and what they wrote is
  // visible here. After that no thread looks at `work`. The caller waits only for tasks that another thread has begun.
  using Task = void (*)(void* work, int task);
  void run(int tasks, Task fn, void* work);

  // The same with anything that can be called as f(i), by several threads at once.
  template <class F>
  void run(int tasks, F&& f) {
    using Callable = std::remove_reference_t<F>;
    run(
        tasks, [](void* work, int task) { (*static_cast<Callable*>(work))(task); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

 private:
  Pool* pool_ = nullptr;
  Slot* slot_ = nullptr;  // none: the caller works alone
};

}  // namespace iqe
