// Closes all descriptors that it may have but for its streams, in each way that there is,
// or lowers the limit of them, and then lets threads wait; and so does a child of its.
// Prints what numbers it gets.

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *Sleep(void *unused) {
  const struct timespec a_moment = {0, 10000000};
  nanosleep(&a_moment, NULL);
  return unused;
}

static void *ReadOne(void *fd) {
  char c;
  if (read(*(int *)fd, &c, 1) != 1) abort();
  return NULL;
}

static void Work(const char *who) {
  pthread_t threads[6];
  int ends[2];
  if (pipe(ends) != 0) abort();
  for (int i = 0; i < 5; ++i) {
    if (pthread_create(&threads[i], NULL, &Sleep, NULL) != 0) abort();
  }
  if (pthread_create(&threads[5], NULL, &ReadOne, &ends[0]) != 0) abort();
  Sleep(NULL);
  if (write(ends[1], "x", 1) != 1) abort();
  for (int i = 0; i < 6; ++i) pthread_join(threads[i], NULL);
  printf("%s: %d %d\n", who, ends[0], ends[1]);
  close(ends[0]);
  close(ends[1]);
}

static void ByClose(void) {
  for (int fd = 3; fd < 4096; ++fd) {
    if (close(fd) != 0 && errno != EBADF) perror("close");
  }
}
static void ByCloseRange(void) {
  if (close_range(3, 4095, 0) != 0) perror("close_range");
}
static void ByCloseFrom(void) { closefrom(3); }
static void BySyscall(void) {
  for (int fd = 3; fd < 4096; ++fd) syscall(SYS_close, fd);
}
static void BySyscallOfARange(void) {
  if (syscall(SYS_close_range, 3, ~0u, 0) != 0) perror("SYS_close_range");
}
static void ByDup2(void) {
  for (int fd = 3; fd < 1024; ++fd) {
    if (dup2(1, fd) >= 0) close(fd);
  }
}
// Of what is open above it, the kernel closes nothing; but a child cannot have it anew.
static void ByALimit(void) {
  const struct rlimit few = {20, 20};
  if (setrlimit(RLIMIT_NOFILE, &few) != 0) perror("setrlimit");
}

int main(void) {
  static const struct {
    const char *name;
    void (*close_all)(void);
  } ways[] = {{"close", &ByClose},           {"close_range", &ByCloseRange},
              {"closefrom", &ByCloseFrom},   {"SYS_close", &BySyscall},
              {"dup2", &ByDup2},             {"SYS_close_range", &BySyscallOfARange},
              {"setrlimit", &ByALimit}};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; ++i) {
    ways[i].close_all();
    Work(ways[i].name);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      Work("its child");
      ways[i].close_all();
      Work("its child, which closes all again");
      fflush(stdout);
      _exit(7);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) abort();
  }
  return 0;
}
