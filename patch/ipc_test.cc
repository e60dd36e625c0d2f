// Locks of files, queues and semaphores between processes, sendfile and splice, and
// lookups by res_query(), as any program uses them.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <resolv.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/patch/patched_test.h"

namespace grove::patch {
namespace {

class PatchedIpc : public PatchedTest {
 protected:
  static std::string Path(const char* name) {
    return testing::TempDir() + "/" + name + std::to_string(getpid());
  }
  static int Open(const std::string& path) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_GE(fd, 0);
    return fd;
  }
  // Lets go of what another waits for, once that has waited.
  static Greenlet<> Later(std::function<void()> fn) {
    return Spawn([fn] {
      Sleep(absl::Seconds(1));
      fn();
    });
  }
};

struct Pair {
  explicit Pair(bool pipe) {
    EXPECT_EQ(pipe ? pipe2(ends, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends),
              0);
  }
  ~Pair() {
    close(ends[0]);
    close(ends[1]);
  }
  int ends[2];
};

// --- locks of files ---

GREENLET_TEST_F(PatchedIpc, FlockIsWaitedForAsAGreenlet) {
  const std::string path = Path("flock");
  const int a = Open(path);
  const int b = Open(path);
  const uint64_t waits = Waits("flock");
  ASSERT_EQ(flock(a, LOCK_EX), 0);
  EXPECT_EQ(flock(b, LOCK_EX | LOCK_NB), -1);
  EXPECT_EQ(errno, EWOULDBLOCK);
  const Greenlet<> holder = Later([&] { EXPECT_EQ(flock(a, LOCK_UN), 0); });
  EXPECT_EQ(flock(b, LOCK_EX), 0);
  EXPECT_GE(Elapsed(), absl::Seconds(1));
  EXPECT_EQ(Waits("flock"), waits + 1);
  // A kill ends it.
  int error = 0;
  const Greenlet<> waiting = Spawn([&] { error = flock(a, LOCK_SH) < 0 ? errno : 0; });
  Yield();
  waiting.Kill();
  EXPECT_EQ(error, ECANCELED);
  close(a);
  close(b);
}

GREENLET_TEST_F(PatchedIpc, AHandlerEndsFlockAsAnAlarmIsMeantTo) {
  const std::string path = Path("alarmed");
  const int a = Open(path);
  const int b = Open(path);
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  ASSERT_EQ(flock(a, LOCK_EX), 0);
  int error = 0;
  const Greenlet<> waiting = Spawn([&] { error = flock(b, LOCK_EX) < 0 ? errno : 0; });
  Sleep(absl::Seconds(1));
  kill(getpid(), SIGUSR1);
  waiting.Join();
  EXPECT_EQ(error, EINTR);
  signal(SIGUSR1, SIG_DFL);
  close(a);
  close(b);
}

GREENLET_TEST_F(PatchedIpc, LocksOfADescriptionAreWaitedFor) {
  const std::string path = Path("ofd");
  const int a = Open(path);
  const int b = Open(path);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  ASSERT_EQ(fcntl(a, F_OFD_SETLKW, &lock), 0);
  const Greenlet<> holder = Later([&] {
    lock.l_type = F_UNLCK;
    EXPECT_EQ(fcntl(a, F_OFD_SETLK, &lock), 0);
  });
  struct flock mine = lock;
  EXPECT_EQ(fcntl(b, F_OFD_SETLKW, &mine), 0);
  EXPECT_GE(Elapsed(), absl::Seconds(1));
  EXPECT_EQ(fcntl(b, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(b, F_SETFD, 0), 0);
  EXPECT_EQ(fcntl(b, F_GETFD), 0);
  close(a);
  close(b);
}

GREENLET_TEST_F(PatchedIpc, LocksOfAnotherProcessAreWaitedFor) {
  if (GROVE_TSAN) GTEST_SKIP() << "ThreadSanitizer and fork() of several threads";
  const int fd = Open(Path("record"));
  Pair locked(true), go(true);
  const pid_t child = fork();
  if (child == 0) {
    const Unpatched unpatched;
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    char c = 'x';
    const bool ok = fcntl(fd, F_SETLK, &lock) == 0 && write(locked.ends[1], &c, 1) == 1 &&
                    read(go.ends[0], &c, 1) == 1;
    _exit(ok ? 0 : 1);  // and so gives it back
  }
  char c;
  ASSERT_EQ(read(locked.ends[0], &c, 1), 1);
  EXPECT_EQ(lockf(fd, F_TLOCK, 0), -1);
  const Greenlet<> holder = Later([&] { EXPECT_EQ(write(go.ends[1], "x", 1), 1); });
  EXPECT_EQ(lockf(fd, F_LOCK, 0), 0);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(lockf(fd, F_ULOCK, 0), 0);
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  EXPECT_EQ(fcntl(fd, F_SETLKW, &lock), 0);
  close(fd);
}

GREENLET_TEST_F(PatchedIpc, DisksAreWaitedForOnAnotherThread) {
  const int fd = Open(Path("synced"));
  const uint64_t waits = Waits("fsync");
  EXPECT_EQ(write(fd, "x", 1), 1);
  EXPECT_EQ(fsync(fd), 0);
  EXPECT_EQ(fdatasync(fd), 0);
  EXPECT_EQ(Waits("fsync"), waits + 1);
  const uint64_t syncfs_waits = Waits("syncfs");
  EXPECT_EQ(syncfs(fd), 0);
  EXPECT_EQ(Waits("syncfs"), syncfs_waits + 1);
  close(fd);
  EXPECT_EQ(fsync(fd), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(syncfs(fd), -1);
  EXPECT_EQ(errno, EBADF);
}

GREENLET_TEST_F(PatchedIpc, ATerminalIsDrainedOnAnotherThread) {
  const int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const uint64_t waits = Waits("tcdrain");
  EXPECT_EQ(tcdrain(fd), 0);
  EXPECT_EQ(Waits("tcdrain"), waits + 1);
  close(fd);
  EXPECT_EQ(tcdrain(fd), -1);
  EXPECT_EQ(errno, EBADF);
}

// --- queues and semaphores ---

GREENLET_TEST_F(PatchedIpc, AMessageQueueIsWaitedFor) {
  const std::string name = "/grove-ipc-test-" + std::to_string(getpid());
  mq_attr attributes = {};
  attributes.mq_maxmsg = 1;
  attributes.mq_msgsize = 16;
  const mqd_t queue =
      mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
  ASSERT_NE(queue, -1) << strerror(errno);
  mq_unlink(name.c_str());
  char buffer[16];
  unsigned priority = 0;
  Greenlet<> other = Later([&] { EXPECT_EQ(mq_send(queue, "one", 3, 5), 0); });
  EXPECT_EQ(mq_receive(queue, buffer, sizeof buffer, &priority), 3);
  EXPECT_EQ(priority, 5u);
  EXPECT_GE(Elapsed(), absl::Seconds(1));
  EXPECT_EQ(mq_send(queue, "two", 3, 0), 0);
  other = Later([&] { EXPECT_EQ(mq_receive(queue, buffer, sizeof buffer, nullptr), 3); });
  EXPECT_EQ(mq_send(queue, "three", 5, 0), 0);
  EXPECT_GE(Elapsed(), absl::Seconds(2));
  timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec += 10;
  EXPECT_EQ(mq_timedsend(queue, "four", 4, 0, &soon), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
  EXPECT_EQ(mq_timedreceive(queue, buffer, sizeof buffer, nullptr, &soon), 5);
  EXPECT_EQ(mq_timedreceive(queue, buffer, sizeof buffer, nullptr, &soon), -1);
  EXPECT_EQ(errno, ETIMEDOUT);
  mq_attr nonblocking = {};
  nonblocking.mq_flags = O_NONBLOCK;
  ASSERT_EQ(mq_setattr(queue, &nonblocking, nullptr), 0);
  EXPECT_EQ(mq_receive(queue, buffer, sizeof buffer, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  mq_close(queue);
}

GREENLET_TEST_F(PatchedIpc, ASystemVQueueIsWaitedFor) {
  const int queue = msgget(IPC_PRIVATE, 0600);
  ASSERT_GE(queue, 0) << strerror(errno);
  struct Message {
    long type;
    char text[8];
  };
  Message sent = {.type = 3, .text = "hello"};
  Message received = {};
  const Greenlet<> other =
      Later([&] { EXPECT_EQ(msgsnd(queue, &sent, sizeof sent.text, 0), 0); });
  EXPECT_EQ(msgrcv(queue, &received, sizeof received.text, 3, 0), 8);
  EXPECT_STREQ(received.text, "hello");
  EXPECT_EQ(msgrcv(queue, &received, sizeof received.text, 3, IPC_NOWAIT), -1);
  EXPECT_EQ(errno, ENOMSG);
  // That it is removed ends a wait.
  const Greenlet<> end = Later([&] { EXPECT_EQ(msgctl(queue, IPC_RMID, nullptr), 0); });
  EXPECT_EQ(msgrcv(queue, &received, sizeof received.text, 3, 0), -1);
  EXPECT_EQ(errno, EIDRM);
}

GREENLET_TEST_F(PatchedIpc, ASystemVSemaphoreIsWaitedFor) {
  const int set = semget(IPC_PRIVATE, 2, 0600);
  ASSERT_GE(set, 0) << strerror(errno);
  sembuf up = {.sem_num = 0, .sem_op = 1, .sem_flg = 0};
  sembuf down = {.sem_num = 0, .sem_op = -1, .sem_flg = 0};
  const Greenlet<> other = Later([&] { EXPECT_EQ(semop(set, &up, 1), 0); });
  EXPECT_EQ(semop(set, &down, 1), 0);
  EXPECT_GE(Elapsed(), absl::Seconds(1));
  const timespec minute = {.tv_sec = 60, .tv_nsec = 0};
  EXPECT_EQ(semtimedop(set, &down, 1, &minute), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(Elapsed(), absl::Seconds(61));
  // One of which only a part may wait.
  sembuf both[] = {up, down};
  both[0].sem_flg = IPC_NOWAIT;
  EXPECT_EQ(semop(set, both, 2), 0);
  EXPECT_EQ(semctl(set, 0, IPC_RMID), 0);
}

// --- sendfile, splice ---

GREENLET_TEST_F(PatchedIpc, SendfileSendsAllThatIsAsked) {
  const int file = Open(Path("large"));
  constexpr size_t kSize = 4 << 20;
  ASSERT_EQ(ftruncate(file, kSize), 0);
  Pair pair(false);
  const uint64_t waits = Waits("sendfile");
  size_t received = 0;
  const Greenlet<> reader = Spawn([&] {
    std::string buffer(64 << 10, 0);
    while (received < kSize) {
      const ssize_t n = read(pair.ends[1], buffer.data(), buffer.size());
      if (n <= 0) break;
      received += static_cast<size_t>(n);
    }
  });
  off_t offset = 0;
  EXPECT_EQ(sendfile(pair.ends[0], file, &offset, 2 * kSize), static_cast<ssize_t>(kSize))
      << "what there is";
  EXPECT_EQ(offset, static_cast<off_t>(kSize));
  EXPECT_EQ(fcntl(pair.ends[0], F_GETFL) & O_NONBLOCK, 0);
  reader.Join();
  EXPECT_EQ(received, kSize);
  EXPECT_GT(Waits("sendfile"), waits);
  // Of one that the program has made non-blocking, what it takes.
  ASSERT_EQ(fcntl(pair.ends[0], F_SETFL, O_NONBLOCK), 0);
  offset = 0;
  const ssize_t some = sendfile(pair.ends[0], file, &offset, kSize);
  EXPECT_GT(some, 0);
  EXPECT_LT(some, static_cast<ssize_t>(kSize));
  EXPECT_EQ(sendfile(pair.ends[0], file, &offset, kSize), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(file);
}

GREENLET_TEST_F(PatchedIpc, SpliceWaitsForWhicheverIsNotReady) {
  Pair socket(false);
  Pair pipe(true);
  Greenlet<> other = Later([&] { EXPECT_EQ(write(socket.ends[1], "hello", 5), 5); });
  EXPECT_EQ(splice(socket.ends[0], nullptr, pipe.ends[1], nullptr, 100, 0), 5);
  EXPECT_EQ(splice(pipe.ends[0], nullptr, socket.ends[1], nullptr, 100, 0), 5);
  char buffer[5];
  EXPECT_EQ(read(socket.ends[0], buffer, 5), 5);
  // A full pipe.
  fcntl(pipe.ends[1], F_SETPIPE_SZ, 4096);
  const std::string page(4096, 'x');
  EXPECT_EQ(write(pipe.ends[1], page.data(), page.size()), 4096);
  EXPECT_EQ(write(socket.ends[1], "hello", 5), 5);
  std::string read_back(4096, 0);
  other = Later([&] { EXPECT_EQ(read(pipe.ends[0], read_back.data(), 4096), 4096); });
  EXPECT_EQ(splice(socket.ends[0], nullptr, pipe.ends[1], nullptr, 100, 0), 5);
  EXPECT_EQ(
      splice(socket.ends[0], nullptr, pipe.ends[1], nullptr, 100, SPLICE_F_NONBLOCK), -1);
  EXPECT_EQ(errno, EAGAIN);
}

GREENLET_TEST_F(PatchedIpc, TeeAndVmspliceWait) {
  Pair from(true), to(true);
  Greenlet<> other = Later([&] { EXPECT_EQ(write(from.ends[1], "hello", 5), 5); });
  EXPECT_EQ(tee(from.ends[0], to.ends[1], 100, 0), 5);
  char buffer[8] = {};
  EXPECT_EQ(read(to.ends[0], buffer, sizeof buffer), 5);
  EXPECT_EQ(read(from.ends[0], buffer, sizeof buffer), 5);
  iovec piece = {buffer, sizeof buffer};
  other = Later([&] { EXPECT_EQ(write(from.ends[1], "again", 5), 5); });
  EXPECT_EQ(vmsplice(from.ends[0], &piece, 1, 0), 5);
  EXPECT_EQ(std::string(buffer, 5), "again");
  EXPECT_EQ(vmsplice(to.ends[1], &piece, 1, 0), 8);
  EXPECT_EQ(read(to.ends[0], buffer, sizeof buffer), 8);
}

GREENLET_TEST_F(PatchedIpc, Preadv2AndPwritev2Wait) {
  Pair pipe(true);
  char buffer[8] = {};
  iovec piece = {buffer, 5};
  const Greenlet<> other = Later([&] {
    iovec sent = {const_cast<char*>("hello"), 5};
    EXPECT_EQ(pwritev2(pipe.ends[1], &sent, 1, -1, 0), 5);
  });
  EXPECT_EQ(preadv2(pipe.ends[0], &piece, 1, -1, 0), 5);
  EXPECT_STREQ(buffer, "hello");
  EXPECT_EQ(preadv2(pipe.ends[0], &piece, 1, -1, RWF_NOWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(preadv2(pipe.ends[0], &piece, 1, 7, 0), -1);
  EXPECT_EQ(errno, ESPIPE);
}

// --- lookups ---

// Answers one question with the address 1.2.3.4.
void AnswerOne(int fd) {
  unsigned char packet[512];
  sockaddr_in from = {};
  socklen_t from_size = sizeof from;
  const ssize_t n = recvfrom(fd, packet, sizeof packet, 0,
                             reinterpret_cast<sockaddr*>(&from), &from_size);
  ASSERT_GT(n, 12);
  // Up to the end of the question: the name, its type and class.
  size_t end = 12;
  while (packet[end] != 0) end += packet[end] + 1u;
  end += 5;
  packet[2] |= 0x80;  // an answer
  packet[7] = 1;      // of one record
  packet[9] = packet[11] = 0;
  const unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4};
  memcpy(packet + end, record, sizeof record);
  EXPECT_EQ(sendto(fd, packet, end + sizeof record, 0, reinterpret_cast<sockaddr*>(&from),
                   from_size),
            static_cast<ssize_t>(end + sizeof record));
}

GREENLET_TEST_F(PatchedIpc, ResQueryAsksOnAnotherThreadAsThisOneIsSet) {
  const int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(server, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(server, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(res_init(), 0);
  _res.nscount = 1;
  _res.nsaddr_list[0] = address;
  const Greenlet<> answering = Spawn([&] { AnswerOne(server); });
  const uint64_t waits = Waits("res_query");
  unsigned char answer[512];
  const int n = res_query("grove.test", C_IN, T_A, answer, sizeof answer);
  ASSERT_GT(n, 16) << hstrerror(h_errno);
  EXPECT_EQ(memcmp(answer + n - 4, "\1\2\3\4", 4), 0);
  EXPECT_EQ(Waits("res_query"), waits + 1);
  answering.Join();
  // The greenlet answers each of the others once, those with a state of the program's own
  // among them.
  struct __res_state state = {};
  ASSERT_EQ(res_ninit(&state), 0);
  state.nscount = 1;
  state.nsaddr_list[0] = address;
  unsigned char question[512];
  const int question_size = res_mkquery(ns_o_query, "grove.test", C_IN, T_A, nullptr, 0,
                                        nullptr, question, sizeof question);
  ASSERT_GT(question_size, 0);
  const std::pair<const char*, std::function<int()>> calls[] = {
      {"res_nquery",
       [&] {
         return res_nquery(&state, "grove.test", C_IN, T_A, answer, sizeof answer);
       }},
      {"res_search",
       [&] { return res_search("grove.test.", C_IN, T_A, answer, sizeof answer); }},
      {"res_nsearch",
       [&] {
         return res_nsearch(&state, "grove.test.", C_IN, T_A, answer, sizeof answer);
       }},
      {"res_querydomain",
       [&] {
         return res_querydomain("grove", "test", C_IN, T_A, answer, sizeof answer);
       }},
      {"res_nquerydomain",
       [&] {
         return res_nquerydomain(&state, "grove", "test", C_IN, T_A, answer,
                                 sizeof answer);
       }},
      {"res_send",
       [&] { return res_send(question, question_size, answer, sizeof answer); }},
      {"res_nsend", [&] {
         return res_nsend(&state, question, question_size, answer, sizeof answer);
       }}};
  for (const auto& [name, call] : calls) {
    SCOPED_TRACE(name);
    memset(answer, 0, sizeof answer);
    const uint64_t before = Waits(name);
    const Greenlet<> again = Spawn([&] { AnswerOne(server); });
    EXPECT_EQ(call(), n);
    EXPECT_EQ(memcmp(answer + n - 4, "\1\2\3\4", 4), 0);
    EXPECT_EQ(Waits(name), before + 1);
    again.Join();
  }
  res_nclose(&state);
  close(server);
}

GREENLET_TEST_F(PatchedIpc, UsersAreLookedUpOnAnotherThread) {
  passwd entry = {};
  passwd* found = nullptr;
  char buffer[4096];
  EXPECT_EQ(getpwuid_r(0, &entry, buffer, sizeof buffer, &found), 0);
  ASSERT_NE(found, nullptr);
  EXPECT_STREQ(found->pw_name, "root");
  EXPECT_EQ(getpwnam_r("root", &entry, buffer, sizeof buffer, &found), 0);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->pw_uid, 0u);
  EXPECT_EQ(getpwnam_r("grove-nobody", &entry, buffer, sizeof buffer, &found), 0);
  EXPECT_EQ(found, nullptr);
  EXPECT_EQ(getpwnam_r("root", &entry, buffer, 1, &found), ERANGE);
  group group_entry = {};
  group* found_group = nullptr;
  EXPECT_EQ(getgrgid_r(0, &group_entry, buffer, sizeof buffer, &found_group), 0);
  ASSERT_NE(found_group, nullptr);
  EXPECT_STREQ(found_group->gr_name, "root");
  EXPECT_EQ(getgrnam_r("root", &group_entry, buffer, sizeof buffer, &found_group), 0);
  ASSERT_NE(found_group, nullptr);
  EXPECT_EQ(found_group->gr_gid, 0u);
}

}  // namespace
}  // namespace grove::patch
