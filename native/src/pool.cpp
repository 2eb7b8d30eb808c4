// The pool: helper threads, and slots in which teams offer work.
//
// A team holds a slot. Its words and what may be relied on:
//   phase    (generation, tasks not yet claimed). run() publishes a phase by storing a new generation with all its tasks. A
//            thread claims one by a compare-and-swap that takes one off, so a task is claimed once, and a thread that comes late
//            finds none left, or another generation, and claims nothing. Only a claim gives the right to read fn, work
//            and tasks, and to run.
//   pending  tasks not yet finished. run() returns at zero, so between a claim and its subtraction here the phase cannot end:
//            what a claim lets a thread read stays as it is. That is also why this count needs no generation.
//   door     (visit, seats, free seats), visit odd while a team holds the slot. A helper takes a free seat before it claims and
//            leaves when the visit has changed, so a team has no more threads than it asked for.
// Slots are never freed, so a late look at one, or a late wake-up, does no harm.
//
// Nobody waits for a thread that has claimed nothing; a helper that never comes costs time only. `running` counts callers that
// hold a team and helpers with a seat: helpers sit down only while it is below the cores, and get up when it is above, so that
// many callers at once do without them. Helpers choose the team with the fewest, and choose again after a slice of time.
//
// Sleep. A helper that found no work announces that it will sleep, then looks again; a caller publishes, then looks for sleepers.
// These four are sequentially consistent: one of the two sees the other. Whoever lowers `running` or frees a seat looks for
// work itself afterwards (a helper), or wakes a helper that does (a caller that ends its team).
//
// fork(): the child forgets the pool, whatever its state, and makes its own. Nothing here takes a lock, so none can be held.
// Exit: helpers are detached and own nothing; there are no static constructors or destructors.
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

namespace iqe {
namespace {

constexpr int kSlots = 64;                 // teams at once; callers beyond work alone
constexpr int kMaxThreads = 4096;          // of a team
constexpr int64_t kSpin = 40 * 1000;       // ns that a thread watches a word before it sleeps
constexpr int64_t kPolite = 10 * 1000;      // ns after which a helper lets others have its core meanwhile
constexpr int64_t kSlice = 1000 * 1000;    // ns that a helper stays in a team while others are open
constexpr size_t kStack = 3 << 19;         // 1.5 MiB: what tasks may use is 1 MiB, beside thread-local storage
constexpr uint64_t kLeft = 0x7fffffff;     // phase: low 31 bits tasks left, high 33 generation
constexpr uint64_t kSeat = 1 << 16;        // door: low 16 bits free seats, then 16 bits seats, high 32 visit
constexpr uint64_t kVisit = 1ull << 32;
constexpr uint32_t kAsleep = 1u << 31;     // pending: the caller sleeps
constexpr uint32_t kSleeper = 1 << 16;     // bell: low 16 bits permits to get up, high 16 sleepers without one

int min(int a, int b) { return a < b ? a : b; }
int max(int a, int b) { return a > b ? a : b; }
int left(uint64_t phase) { return static_cast<int>(phase & kLeft); }
bool open(uint64_t door) { return door & kVisit; }
int seats(uint64_t door) { return static_cast<int>(door / kSeat % kSeat); }
int free_seats(uint64_t door) { return static_cast<int>(door % kSeat); }

// Both return early at times; every use is in a loop that looks at the word again.
void futex_wait(std::atomic<uint32_t>& word, uint32_t while_value) {
  static_assert(sizeof word == 4, "a futex is 32 bits");
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_value, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word, int threads) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

// A wait that is short by intent: more() is true for `most` ns. Most waits end before the clock is read at all.
struct Spin {
  int64_t most;
  int64_t start = 0;
  unsigned pauses = 0;
  bool more(bool helper) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");  // "yield" does nothing on most of these CPUs
#endif
    if (++pauses % 32 != 0) return true;
    const int64_t time = now();
    if (start == 0) start = time;
    // A helper without work may be what keeps its caller from the core: where more threads than cores want to run, two threads
    // that share a core would else spend a third of it waiting for each other. A caller that waits sleeps instead.
    if (helper && time - start > kPolite) sched_yield();
    return time - start < most;
  }
};

}  // namespace

struct Slot {
  alignas(64) std::atomic<uint64_t> phase{0};
  std::atomic<uint64_t> door{0};
  Team::Task fn = nullptr;  // these three: written before phase is published, read after a claim
  void* work = nullptr;
  int tasks = 0;
  alignas(64) std::atomic<uint32_t> pending{0};

  // Claims and runs tasks while there are any and stop() is false; returns how many. They must then be handed to finish(), and
  // are counted there at once: until then the phase is held open by them, so all are of one phase. `seen` was read from phase;
  // acquire makes what its publisher wrote visible (claims by others in between are in its release sequence).
  template <class Stop>
  int claim(uint64_t seen, Stop stop) {
    int done = 0;
    while (left(seen) > 0 && !stop()) {
      if (!phase.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire, std::memory_order_acquire)) continue;
      fn(work, tasks - left(seen));
      --seen;
      ++done;
    }
    return done;
  }

  // Release: the caller sees what the tasks wrote. The caller may return, and publish anew, as soon as the count is zero.
  void finish(int done) {
    const uint32_t count = static_cast<uint32_t>(done);
    if (pending.fetch_sub(count, std::memory_order_acq_rel) == (kAsleep | count)) futex_wake(pending, 1);
  }

  // The flag and the count are one word: no wake-up can fall between them.
  void wait_for_others(int64_t most) {
    Spin spin{most};
    for (uint32_t seen; ((seen = pending.load(std::memory_order_acquire)) & ~kAsleep) != 0;) {
      if (spin.more(false)) continue;
      if ((seen & kAsleep) || pending.compare_exchange_strong(seen, seen | kAsleep, std::memory_order_relaxed))
        futex_wait(pending, seen | kAsleep);
    }
  }
};

struct Pool {
  int cores = 1;
  bool rationed = false;  // by a CPU quota, below the affinity
  alignas(64) std::atomic<int> running{0};
  std::atomic<int> open_seats{0};  // of all teams
  std::atomic<int> helpers{0};
  alignas(64) std::atomic<uint32_t> bell{0};  // a semaphore that knows its sleepers: sleepers + permits = announced and not up
  Slot slots[kSlots];

  // Room for a helper of that team: the cores, or what its caller asked for beyond them.
  int limit(uint64_t door) const { return max(cores, seats(door) + 1); }

  // How long a thread of that team watches a word: some microseconds where a CPU quota doesn't pay for the whole team, since what
  // one thread burns keeps the others waiting for the next period. (Of a core that they share each lets the other have it.)
  int64_t watch(uint64_t door) const { return rationed && seats(door) >= cores ? 0 : kSpin; }

  // Wakes up to `count` sleepers. Each is woken once: phases that follow quickly don't repeat the call into the kernel.
  void wake(int count) {
    uint32_t seen = bell.load(std::memory_order_seq_cst);
    for (;;) {
      const int some = min(count, static_cast<int>(seen / kSleeper));
      if (some <= 0) return;
      const uint32_t permits = static_cast<uint32_t>(some);
      if (!bell.compare_exchange_weak(seen, seen - permits * kSleeper + permits)) continue;
      futex_wake(bell, some);
      return;
    }
  }

  // What a helper does after it has announced itself: get up for work it found, or sleep until it has a permit.
  void get_up() {
    uint32_t seen = bell.load(std::memory_order_relaxed);
    while (!bell.compare_exchange_weak(seen, seen - (seen % kSleeper ? 1 : kSleeper))) {
    }
  }
  void sleep() {
    uint32_t seen = bell.load(std::memory_order_relaxed);
    for (;;) {
      if (seen % kSleeper != 0) {
        if (bell.compare_exchange_weak(seen, seen - 1)) return;
      } else {
        futex_wait(bell, seen);
        seen = bell.load(std::memory_order_relaxed);
      }
    }
  }

  // The slot to help: one with unclaimed tasks, a free seat and room, with the fewest helpers, the first from `from` on among
  // equals; failing that, if `keen`, an open one between two phases. -1: none. phase is read before door: whoever sees a
  // published phase then sees the open door as well.
  int choose(int from, bool keen) const {
    int best = -1, least = 2 * kMaxThreads;
    for (int i = 0; i < kSlots; i++) {
      const int n = (from + i) % kSlots;
      const bool tasks = left(slots[n].phase.load(std::memory_order_seq_cst)) > 0;
      const uint64_t door = slots[n].door.load(std::memory_order_acquire);
      if (!open(door) || free_seats(door) == 0 || (!tasks && !keen)) continue;
      if (running.load(std::memory_order_seq_cst) >= limit(door)) continue;
      const int rank = seats(door) - free_seats(door) + (tasks ? 0 : kMaxThreads);
      if (rank < least) best = n, least = rank;
    }
    return best;
  }

  // Takes a seat in the slot chosen. Returns its number, or -1 where there is none to choose; `door` tells visit and limit.
  int join(int from, bool keen, uint64_t& door) {
    for (;;) {
      const int n = choose(from, keen);
      if (n < 0) return -1;
      door = slots[n].door.load(std::memory_order_acquire);
      if (!open(door) || free_seats(door) == 0) continue;
      int count = running.load(std::memory_order_seq_cst);
      if (count >= limit(door) || !running.compare_exchange_strong(count, count + 1)) continue;
      if (slots[n].door.compare_exchange_strong(door, door - 1, std::memory_order_acq_rel)) return n;
      running.fetch_sub(1);  // and looks again
    }
  }

  // A helper's stay in a slot whose door it took a seat at. Returns whether it may hope for work elsewhere soon.
  bool serve(Slot& slot, const uint64_t door) {
    const uint64_t visit = door / kVisit;
    const int most = limit(door);
    const int64_t end = now() + kSlice;
    const auto closed = [&] { return slot.door.load(std::memory_order_acquire) / kVisit != visit; };
    const auto crowded = [&] { return running.load(std::memory_order_relaxed) > most; };
    const auto others = [&] { return open_seats.load(std::memory_order_relaxed) > seats(door) && now() > end; };
    const int64_t most_ns = watch(door);
    Spin spin{most_ns};
    for (;;) {
      // Of a phase that a later team published, the acquire shows that team's door too: closed() then is true, and a claim of
      // `seen` after closed() was false is a claim in the team that has this helper's seat.
      const uint64_t seen = slot.phase.load(std::memory_order_acquire);
      if (closed()) {
        running.fetch_sub(1);
        return true;
      }
      if (crowded()) {  // one helper for each thread too many gets up
        int count = running.load(std::memory_order_relaxed);
        if (count > most && running.compare_exchange_strong(count, count - 1)) return give_seat_back(slot, visit), false;
        continue;
      }
      const bool idle = left(seen) == 0 && !spin.more(true);
      if (idle || others()) {
        give_seat_back(slot, visit);
        running.fetch_sub(1);
        return !idle;
      }
      if (const int done = slot.claim(seen, [&] { return closed() || crowded() || others(); })) {
        slot.finish(done);
        spin = Spin{most_ns};
      }
    }
  }
  static void give_seat_back(Slot& slot, uint64_t visit) {
    uint64_t door = slot.door.load(std::memory_order_relaxed);
    while (door / kVisit == visit && !slot.door.compare_exchange_weak(door, door + 1, std::memory_order_acq_rel)) {
    }
  }

  static void* helper(void* pool) {
    prctl(PR_SET_NAME, "iqe-helper");
    static_cast<Pool*>(pool)->help();
    return nullptr;
  }
  void help() {
    bool keen = true;
    for (int from = 0;;) {
      uint64_t door;
      int n = join(from, keen, door);
      if (n < 0) {
        bell.fetch_add(kSleeper, std::memory_order_seq_cst);
        n = join(from, false, door);
        if (n < 0) {
          sleep();
          keen = true;
          continue;
        }
        get_up();
      }
      keen = serve(slots[n], door);
      from = n + 1;
    }
  }

  // Starts helpers until there are `wanted`. One that can't be started is done without. They inherit a mask of all signals, so
  // that those for the process go to the program's own threads.
  void start(int wanted) {
    int have = helpers.load(std::memory_order_relaxed);
    if (have >= wanted) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, kStack);
    while (have < wanted) {
      if (!helpers.compare_exchange_weak(have, have + 1)) continue;
      pthread_t thread;
      if (pthread_create(&thread, &attributes, helper, this) != 0) {
        helpers.fetch_sub(1);
        break;
      }
      ++have;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
};

namespace {

std::atomic<Pool*> the_pool{nullptr};
std::atomic<int> most_cores{INT32_MAX};
pthread_once_t once = PTHREAD_ONCE_INIT;

int cores_of_affinity() {
  unsigned long mask[128];  // 8,192 CPUs: cpu_set_t has 1,024, and the call fails where the machine has more
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int cores = 0;
  for (long i = 0; i < bytes / static_cast<long>(sizeof mask[0]); i++) {
    for (unsigned long left = mask[i]; left != 0; left &= left - 1) cores++;  // the builtin may call a library of gcc's
  }
  return max(cores, 1);
}

// This process's pool; null where there is no memory for one. A team that was open across a fork keeps the one it knows, in
// which no helper is left, and works alone.
Pool* get_pool() {
  Pool* pool = the_pool.load(std::memory_order_acquire);
  if (pool != nullptr) return pool;
  // Before there is a pool to forget. glibc runs it again in a child that was forked while it ran; twice does no harm.
  pthread_once(&once, [] { pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr, std::memory_order_relaxed); }); });
  void* memory = mmap(nullptr, sizeof(Pool), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  Pool* made = new (memory) Pool;
  const int cores = cores_of_affinity(), most = most_cores.load(std::memory_order_relaxed);
  made->cores = max(min(cores, most), 1);
  made->rationed = most < cores;
  if (the_pool.compare_exchange_strong(pool, made, std::memory_order_acq_rel, std::memory_order_acquire)) return made;
  munmap(memory, sizeof(Pool));  // another thread was first
  return pool;
}

}  // namespace

void set_most_cores(int cores) { most_cores.store(cores, std::memory_order_relaxed); }

Team::Team(int threads) {
  if (threads < 2) return;
  threads = min(threads, kMaxThreads);
  Pool* pool = get_pool();
  if (pool == nullptr) return;
  const uint64_t empty = static_cast<uint64_t>(threads - 1) * (kSeat + 1);
  for (Slot& slot : pool->slots) {
    uint64_t door = slot.door.load(std::memory_order_relaxed);
    if (open(door) || !slot.door.compare_exchange_strong(door, door + kVisit + empty, std::memory_order_acq_rel)) continue;
    pool_ = pool;
    slot_ = &slot;
    pool->running.fetch_add(1);
    pool->start(min(pool->open_seats.fetch_add(threads - 1) + threads - 1, max(pool->cores, threads) - 1));
    return;
  }
}

Team::~Team() {
  if (slot_ == nullptr) return;
  const uint64_t door = slot_->door.load(std::memory_order_relaxed);
  slot_->door.store((door / kVisit + 1) * kVisit, std::memory_order_release);  // helpers see it and get up
  // There is room for one more elsewhere. In this order: a team that is not among the others opened after `running` fell, and
  // knows of the room itself.
  pool_->running.fetch_sub(1);
  const int others = pool_->open_seats.fetch_sub(seats(door)) - seats(door);
  if (others > 0 && pool_->choose(0, false) >= 0) pool_->wake(1);
}

void Team::run(int tasks, Task fn, void* work) {
  if (slot_ == nullptr || tasks < 2) {
    for (int task = 0; task < tasks; task++) fn(work, task);
    return;
  }
  Slot& slot = *slot_;
  slot.fn = fn;
  slot.work = work;
  slot.tasks = tasks;
  slot.pending.store(static_cast<uint32_t>(tasks), std::memory_order_relaxed);
  const uint64_t phase = (slot.phase.load(std::memory_order_relaxed) | kLeft) + 1 + static_cast<uint64_t>(tasks);
  slot.phase.store(phase, std::memory_order_seq_cst);
  const uint64_t door = slot.door.load(std::memory_order_relaxed);
  if (const int seats = min(free_seats(door), tasks - 1))
    pool_->wake(min(seats, pool_->limit(door) - pool_->running.load(std::memory_order_seq_cst)));
  if (const int done = slot.claim(phase, [] { return false; })) slot.finish(done);
  slot.wait_for_others(pool_->watch(door));
}

}  // namespace iqe
