// Tests of the thread pool; each in a child process of its own, with a pool of its own and an alarm against hangs.
//   pool_test          all of them; exits non-zero where one failed
//   pool_test NAME...  these
//   pool_test bench    prints what a phase costs and what is lost with many callers
#include "../src/pool.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <initializer_list>

using iqe::Team;

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) {                                                      \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      _exit(1);                                                              \
    }                                                                        \
  } while (0)

namespace {

double seconds(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t;
  clock_gettime(clock, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// As long as `us` microseconds of work take on this thread, whoever else has the core.
void work_for(double us) {
  for (const double end = seconds(CLOCK_THREAD_CPUTIME_ID) + us * 1e-6; seconds(CLOCK_THREAD_CPUTIME_ID) < end;) {
  }
}

long thread_id() { return syscall(SYS_gettid); }

uint32_t random_below(uint64_t& state, uint32_t bound) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return uint32_t(state >> 33) % bound;
}

// The first `cores` cores, before the pool counts them. False where there are fewer.
bool use_cores(int cores) {
  cpu_set_t have, want;
  CPU_ZERO(&want);
  CHECK(sched_getaffinity(0, sizeof have, &have) == 0);
  int taken = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && taken < cores; cpu++)
    if (CPU_ISSET(cpu, &have)) CPU_SET(cpu, &want), taken++;
  return taken == cores && sched_setaffinity(0, sizeof want, &want) == 0;
}

struct Thread {  // runs fn(argument); joined at the end of the block
  template <class F>
  explicit Thread(F& f) {
    CHECK(pthread_create(&thread, nullptr, [](void* p) -> void* { return (*static_cast<F*>(p))(), nullptr; }, &f) == 0);
  }
  ~Thread() { pthread_join(thread, nullptr); }
  pthread_t thread;
};

template <class F>
void eight(F& f) {
  Thread a(f), b(f), c(f), d(f), e(f), g(f), h(f), i(f);
}

// Runs a phase in which every task is counted without atomics, in memory that is gone afterwards.
struct Work {
  int magic;
  std::atomic<int> inside;
  int count[1];
};
void checked_phase_in(void* memory, Team& team, int threads, int tasks, double us) {
  Work* work = static_cast<Work*>(memory);
  work->magic = 4711;
  team.run(tasks, [work, threads, tasks, us](int task) {
    CHECK(work->magic == 4711 && task >= 0 && task < tasks);
    CHECK(work->inside.fetch_add(1, std::memory_order_relaxed) < threads);
    work->count[task]++;
    if (us > 0) work_for(us);
    work->inside.fetch_sub(1, std::memory_order_relaxed);
  });
  CHECK(work->inside == 0);
  for (int task = 0; task < tasks; task++) CHECK(work->count[task] == 1);
  work->magic = 0;
}
void checked_phase(Team& team, int threads, int tasks, double us = 0) {
  void* memory = calloc(1, sizeof(Work) + sizeof(int) * size_t(tasks));
  checked_phase_in(memory, team, threads, tasks, us);
  free(memory);
}
// For threads that are at it when another forks: the address sanitizer's allocator may leave a lock held in the child.
void small_phase(Team& team, int threads, int tasks, double us = 0) {
  alignas(Work) char memory[sizeof(Work) + 16 * sizeof(int)] = {};
  CHECK(tasks <= 16);
  checked_phase_in(memory, team, threads, tasks, us);
}

// Whether `threads` threads come together in one phase: a task a thread, each waiting for the others.
bool all_come(Team& team, int threads, double patience = 20) {
  std::atomic<int> here{0};
  const double end = seconds() + patience;
  team.run(threads, [&](int) {
    here++;
    while (here < threads && seconds() < end) usleep(50);
  });
  return here == threads && seconds() < end;
}

void each_task_once() {
  uint64_t state = 1;
  for (int threads = 2; threads <= 5; threads++) {
    Team team(threads);
    for (int phase = 0; phase < 2000; phase++) checked_phase(team, threads, int(random_below(state, phase % 50 ? 12 : 500)));
    checked_phase(team, threads, 0);
    checked_phase(team, threads, 1 << 20);
    CHECK(all_come(team, threads));
  }
}

void results_are_visible() {
  // Each phase reads what other threads wrote in the one before, as layers do.
  constexpr int kWide = 64;
  static long row[2][kWide];
  Team team(3);
  for (int i = 0; i < kWide; i++) row[0][i] = i;
  for (int phase = 0; phase < 5000; phase++) {
    const long* from = row[phase & 1];
    long* to = row[~phase & 1];
    team.run(kWide, [&](int i) { to[i] = from[(i + 7) % kWide] + 1; });
  }
  for (int i = 0; i < kWide; i++) CHECK(row[0][i] == (i + 7 * 5000) % kWide + 5000);
}

int helpers_of_this_process() {
  DIR* tasks = opendir("/proc/self/task");
  CHECK(tasks != nullptr);
  int helpers = 0;
  while (const dirent* entry = readdir(tasks)) {
    char path[300], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    if (FILE* file = fopen(path, "r")) {
      if (fgets(name, sizeof name, file) && strcmp(name, "iqe-helper\n") == 0) helpers++;
      fclose(file);
    }
  }
  closedir(tasks);
  return helpers;
}

void one_thread_is_the_caller() {
  const long me = thread_id();
  for (int threads : {1, 0, -3}) {
    Team team(threads);
    int next = 0;
    team.run(100, [&](int task) { CHECK(thread_id() == me && task == next++); });
    CHECK(next == 100);
  }
  usleep(20000);
  CHECK(helpers_of_this_process() == 0);
}

void late_threads_find_nothing() {
  // Phases shorter than a wake-up, teams shorter than a stay, pauses on both sides of the time that helpers watch.
  uint64_t state = 3;
  const double end = seconds() + 1.5;
  while (seconds() < end) {
    const int threads = 2 + int(random_below(state, 4));
    Team team(threads);
    for (int phases = int(random_below(state, 20)); phases > 0; phases--) {
      checked_phase(team, threads, 2 + int(random_below(state, 3)));
      if (random_below(state, 4) == 0) usleep(random_below(state, 150));
    }
  }
  Team team(2);
  CHECK(all_come(team, 2));
}

void eight_callers_at_once() {
  static std::atomic<uint64_t> seed;
  auto call = [] {
    uint64_t state = ++seed;
    for (int n = 0; n < 60; n++) {
      const int threads = 1 + int(random_below(state, 4));
      Team team(threads);
      for (int phases = int(random_below(state, 30)); phases > 0; phases--)
        checked_phase(team, threads, int(random_below(state, 20)), random_below(state, 8) == 0 ? 20 : 0);
    }
  };
  eight(call);
  Team team(4);  // no seat, permit or count was lost
  CHECK(all_come(team, 4));
}

void tasks_may_have_teams() {
  auto call = [] {
    for (int n = 0; n < 20; n++) {
      Team team(3);
      std::atomic<int> total{0};
      team.run(6, [&](int) {
        Team inner(2);
        inner.run(10, [&](int) { total++; });
      });
      CHECK(total == 60);
    }
  };
  call();
  eight(call);
}

void more_teams_than_slots() {
  Team* teams[100];
  for (Team*& team : teams) team = new Team(2);
  for (Team* team : teams) checked_phase(*team, 2, 5);
  for (Team* team : teams) delete team;
  Team team(2);
  CHECK(all_come(team, 2));
}

void sixteen_threads_on_two_cores() {
  use_cores(2);
  Team team(16);
  uint64_t state = 5;
  for (int phase = 0; phase < 300; phase++) checked_phase(team, 16, 1 + int(random_below(state, 40)), 5);
  CHECK(all_come(team, 16));
  auto call = [] {
    Team mine(16);
    for (int phase = 0; phase < 20; phase++) checked_phase(mine, 16, 20, 2);
  };
  eight(call);
}

void helpers_are_as_few_as_cores() {
  if (!use_cores(2)) return;
  auto call = [] {
    Team team(2);
    for (int phase = 0; phase < 50; phase++) checked_phase(team, 2, 8, 5);
  };
  eight(call);
  {
    Team team(2);
    CHECK(all_come(team, 2));
    CHECK(helpers_of_this_process() == 1);
  }
  Team team(4);
  CHECK(all_come(team, 4));
  CHECK(helpers_of_this_process() == 3);
}

// Tasks of a millisecond until `until` or for 20 s; helped(): how many another thread than the caller has begun.
struct Bulk {
  std::atomic<bool> until{false};
  std::atomic<int> by_helpers{0}, by_caller{0};
  void run(Team& team) {
    const long me = thread_id();
    const double end = seconds() + 20;
    team.run(1 << 20, [&](int) {
      if (until || seconds() > end) return;
      (thread_id() == me ? by_caller : by_helpers)++;
      work_for(1000);
    });
  }
};

template <class F>
bool within_20_s(F&& f) {
  for (const double end = seconds() + 20; seconds() < end; usleep(500))
    if (f()) return true;
  return false;
}

void helpers_make_room_for_callers_and_return() {
  // Two cores. A caller in bulk has the helper; another caller opens a team: the helper leaves after its task. The other
  // ends: the helper is back, though the first caller has published nothing since.
  if (!use_cores(2)) return;
  static Bulk bulk;
  auto call = [] {
    Team team(2);
    bulk.run(team);
  };
  Thread thread(call);
  CHECK(within_20_s([] { return bulk.by_helpers > 3; }));
  int before;
  {
    Team other(2);
    before = bulk.by_helpers;
    const int mine = bulk.by_caller;
    CHECK(within_20_s([&] { return bulk.by_caller > mine + 30; }));
    CHECK(bulk.by_helpers <= before + 1);
    before = bulk.by_helpers;
  }
  CHECK(within_20_s([&] { return bulk.by_helpers > before + 3; }));
  bulk.until = true;
}

void helpers_share_themselves() {
  // Three threads may run, two are callers: the one helper takes turns.
  use_cores(2);
  static Bulk bulk[2];
  static std::atomic<int> next{0};
  auto call = [] {
    Team team(3);
    bulk[next++].run(team);
  };
  Thread a(call), b(call);
  CHECK(within_20_s([] { return bulk[0].by_helpers > 20 && bulk[1].by_helpers > 20; }));
  bulk[0].until = bulk[1].until = true;
}

void wait_for(pid_t child) {
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "the child ended with status %#x\n", status);
    _exit(1);
  }
}

// Microseconds of CPU that a helper takes for each phase, its caller asleep between them for longer than a thread watches a word.
// In a process of its own, which may use so many cores.
double cost_of_a_helper(int cores) {
  double* cost = static_cast<double*>(mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    constexpr int kPhases = 3000;
    iqe::set_most_cores(cores);
    Team team(2);
    CHECK(all_come(team, 2));
    const double before = seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID);
    for (int phase = 0; phase < kPhases; phase++) {
      checked_phase(team, 2, 2);
      usleep(100);
    }
    *cost = (seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID) - before) / kPhases * 1e6;
    _exit(0);
  }
  wait_for(child);
  return *cost;
}

void what_a_quota_does_not_pay_for_is_not_burnt() {
  // Two cores by affinity. Granted both, a helper watches for 40 us after each phase; granted one, it sleeps.
  if (!use_cores(2)) return;
  CHECK(within_20_s([] { return cost_of_a_helper(1) < 0.6 * cost_of_a_helper(2); }));
}

void fork_while_others_run() {
  static std::atomic<bool> stop{false};
  auto call = [] {
    while (!stop) {
      Team team(3);
      for (int phase = 0; phase < 10; phase++) small_phase(team, 3, 6, 2);
    }
  };
  {
    Thread a(call), b(call);
    Team open_before(3);
    CHECK(all_come(open_before, 3));
    for (int n = 0; n < 200; n++) {
      if (n % 3 == 0) small_phase(open_before, 3, 4);
      const pid_t child = fork();
      if (child == 0) {
        alarm(60);
        small_phase(open_before, 1, 5);  // alone, but right
        {
          Team team(3);
          for (int phase = 0; phase < 5; phase++) small_phase(team, 3, 6);
          CHECK(all_come(team, 3));
        }
        if (n % 20 == 0) {  // a grandchild, and the child's pool goes on
          const pid_t grandchild = fork();
          if (grandchild == 0) {
            Team team(2);
            CHECK(all_come(team, 2));
            _exit(0);
          }
          wait_for(grandchild);
          Team team(3);
          CHECK(all_come(team, 3));
        }
        _exit(0);
      }
      wait_for(child);
    }
    stop = true;
  }
  Team team(3);
  CHECK(all_come(team, 3));
}

void exit_at_any_time() {
  for (int n = 0; n < 60; n++) {
    const pid_t child = fork();
    if (child == 0) {
      static std::atomic<bool> never{false};
      static auto call = [] {
        while (!never) {
          Team team(3);
          for (int phase = 0; phase < 10; phase++) small_phase(team, 3, 6, 2);
        }
      };
      if (n % 2) {  // others are inside run()
        pthread_t thread;
        CHECK(pthread_create(&thread, nullptr, [](void*) -> void* { return call(), nullptr; }, nullptr) == 0);
        pthread_detach(thread);
        usleep(useconds_t(n * 50));
      }
      Team* team = new Team(3);  // n % 4 > 1: open at exit, and its helpers watch it
      small_phase(*team, 3, 8, 5);
      if (n % 4 < 2) delete team;
      exit(0);
    }
    wait_for(child);
  }
}

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void idle_costs_nothing() {
  Team* team = new Team(4);
  for (int open = 1; open >= 0; open--) {
    CHECK(all_come(*team, 4));
    if (!open) delete team;
    usleep(100000);  // helpers watch for a while; on a busy machine they need their turn for that
    const double before = cpu_seconds();
    usleep(300000);
    CHECK(cpu_seconds() - before < 0.005);
  }
}

void waiting_for_a_long_task_costs_nothing() {
  Team team(2);
  const long me = thread_id();
  double before = 0;
  std::atomic<int> here{0};
  team.run(2, [&](int) {
    here++;
    while (here < 2) usleep(50);
    if (thread_id() == me)
      before = seconds(CLOCK_THREAD_CPUTIME_ID);
    else
      usleep(300000);
  });
  CHECK(seconds(CLOCK_THREAD_CPUTIME_ID) - before < 0.005);
}

void helpers_take_no_signals() {
  sigset_t mask;
  Team team(4);
  CHECK(pthread_sigmask(SIG_SETMASK, nullptr, &mask) == 0 && !sigismember(&mask, SIGINT) && !sigismember(&mask, SIGTERM));
  const long me = thread_id();
  std::atomic<int> here{0};
  team.run(4, [&](int) {
    here++;
    while (here < 4) usleep(50);
    sigset_t own;
    CHECK(pthread_sigmask(SIG_SETMASK, nullptr, &own) == 0);
    for (int signal : {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD, SIGPROF})
      CHECK(sigismember(&own, signal) == (thread_id() != me));
  });
  // A caller that sleeps in run() is interrupted by signals, and goes on waiting.
  struct sigaction action = {};
  static std::atomic<int> got{0};
  action.sa_handler = [](int) { got++; };
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  here = 0;
  team.run(2, [&](int) {
    here++;
    while (here < 2) usleep(50);
    if (thread_id() == me) return;
    for (int n = 0; n < 50; n++) kill(getpid(), SIGUSR1), usleep(1000);
    here = 3;
  });
  CHECK(here == 3 && got > 0);
}

void helpers_have_a_megabyte_of_stack() {
  Team team(3);
  std::atomic<int> here{0};
#if defined(__SANITIZE_THREAD__)
  constexpr size_t kLocals = 1 << 19;  // its own data of a thread lie in the stack as well
#else
  constexpr size_t kLocals = 1 << 20;
#endif
  team.run(3, [&](int) {
    here++;
    while (here < 3) usleep(50);
    volatile char locals[kLocals];
    for (size_t i = 0; i < sizeof locals; i += 1024) locals[i] = 1;
  });
}

void without_threads_the_caller_works() {
  // Root has no limit of processes: this child is nobody.
  if (geteuid() == 0 && setuid(65534) != 0) return;
  const rlimit none = {0, 0};
  CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
  Team team(4);
  for (int phase = 0; phase < 100; phase++) checked_phase(team, 1, 10);
  CHECK(helpers_of_this_process() == 0);
  _exit(0);  // nobody may not run the leak sanitizer
}

struct Test {
  const char* name;
  void (*run)();
};
#define TEST(name) {#name, name}
const Test kTests[] = {
    TEST(each_task_once),
    TEST(results_are_visible),
    TEST(one_thread_is_the_caller),
    TEST(late_threads_find_nothing),
    TEST(eight_callers_at_once),
    TEST(tasks_may_have_teams),
    TEST(more_teams_than_slots),
    TEST(sixteen_threads_on_two_cores),
    TEST(helpers_are_as_few_as_cores),
    TEST(what_a_quota_does_not_pay_for_is_not_burnt),
    TEST(helpers_make_room_for_callers_and_return),
    TEST(helpers_share_themselves),
    TEST(fork_while_others_run),
    TEST(exit_at_any_time),
    TEST(idle_costs_nothing),
    TEST(waiting_for_a_long_task_costs_nothing),
    TEST(helpers_take_no_signals),
    TEST(helpers_have_a_megabyte_of_stack),
    TEST(without_threads_the_caller_works),
};

bool passes(const Test& test) {
  const double start = seconds();
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(240);
    test.run();
    exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  printf("%s %s %.2f s (status %#x)\n", status == 0 ? "ok  " : "FAIL", test.name, seconds() - start, status);
  return status == 0;
}

// Nanoseconds of a phase of `tasks` tasks of `us` each, the least of many rounds of 55.
double phase_ns(int threads, int tasks, double us) {
  double least = 1e9;
  Team team(threads);
  for (int round = 0; round < 2000; round++) {
    const double start = seconds();
    for (int phase = 0; phase < 55; phase++)
      team.run(tasks, [us](int) {
        if (us > 0)
          for (const double end = seconds() + us * 1e-6; seconds() < end;) {
          }
      });
    const double took = (seconds() - start) / 55;
    if (took < least) least = took;
  }
  return least * 1e9;
}

// The same of phases that both of two threads came to: each task waits for the other to begin.
double shared_phase_ns() {
  double least = 1e9;
  Team team(2);
  for (int phase = 0; phase < 200000; phase++) {
    std::atomic<int> here{0};
    std::atomic<bool> late{false};
    const double start = seconds();
    team.run(2, [&](int) {
      here++;
      for (int n = 0; here < 2; n++)
        if (n > 20000) {
          late = true;
          break;
        }
    });
    const double took = seconds() - start;
    if (!late && took < least) least = took;
  }
  return least * 1e9;
}

// Work a caller gets done in `span` seconds: queries of 55 phases of 8 tasks of fixed work. Returns queries.
volatile float sink;
int queries(int threads, double span) {
  int done = 0;
  for (const double end = seconds() + span; seconds() < end; done++) {
    Team team(threads);
    for (int phase = 0; phase < 55; phase++)
      team.run(8, [](int task) {
        float x = float(task);
        for (int i = 0; i < 3000; i++) x = x * 0.999f + 1.0f;
        sink = x;
      });
  }
  return done;
}

void bench() {
  printf("phase, ns, least of 2,000 rounds: 1 thread, 2 empty tasks %.0f\n", phase_ns(1, 2, 0));
  for (int threads = 2; threads <= 4; threads += 2)
    for (int tasks : {2, 12})
      printf("  %d threads, %2d empty tasks %.0f; of 10 us each %.0f\n", threads, tasks, phase_ns(threads, tasks, 0),
             phase_ns(threads, tasks, 10));
  printf("  2 threads, 2 tasks, one a thread %.0f\n", shared_phase_ns());
  // CPU seconds a query: what many callers and threads cost beyond one thread alone. Less sensitive to other processes than time.
  for (int round = 0; round < 3; round++)
    for (int way = 0; way < 5; way++) {
      static std::atomic<int> total;
      static int width;
      width = way == 1 || way == 3 ? 2 : way == 4 ? 4 : 1;
      const int callers = way < 2 ? 1 : 8;
      total = 0;
      auto call = [] { total += queries(width, 1); };
      const double cpu = cpu_seconds(), start = seconds();
      if (callers == 1)
        call();
      else
        eight(call);
      printf("%d callers, %d threads: %.0f queries/s, %.1f us of CPU each\n", callers, width, total / (seconds() - start),
             (cpu_seconds() - cpu) / total * 1e6);
    }
}

}  // namespace

int main(int count, char** names) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (count > 1 && strcmp(names[1], "bench") == 0) return bench(), 0;
  int failed = 0, found = 0;
  for (const Test& test : kTests) {
    bool wanted = count == 1;
    for (int n = 1; n < count; n++) wanted = wanted || strcmp(names[n], test.name) == 0;
    if (!wanted) continue;
    found++;
    failed += !passes(test);
  }
  if (found == 0) return fprintf(stderr, "there is no such test\n"), 2;
  return failed != 0;
}
