// Whole programs of the distribution's, with patch/run and without: what they print and
// how they end is the same.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/run.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/address.h"
#include "grove/net/tcp.h"
#include "grove/patch/adapters/postgres_server.h"
#include "grove/patch/adapters/real_server.h"

namespace grove::patch {
namespace {

using Command = std::vector<std::string>;

class Programs : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }

  static Command Patched(Command command, Command options = {}) {
    Command all = {"patch/run"};
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), command.begin(), command.end());
    return all;
  }

  static CompletedProcess Run(const Command& command, const std::string& input = "") {
    const absl::StatusOr<CompletedProcess> done =
        RunProcess(command, {.input = input, .deadline = absl::Seconds(120)});
    EXPECT_TRUE(done.ok()) << done.status();
    return done.ok() ? *done : CompletedProcess();
  }

  // Writes a program.
  static std::string Script(const std::string& text) {
    const std::string path = testing::TempDir() + "script";
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }

  // Returns what it prints.
  static std::string RunsTheSame(const Command& command, const std::string& input = "") {
    const CompletedProcess native = Run(command, input);
    const CompletedProcess patched = Run(Patched(command), input);
    EXPECT_EQ(patched.out, native.out) << absl::StrJoin(command, " ");
    EXPECT_EQ(patched.err, native.err) << absl::StrJoin(command, " ");
    EXPECT_EQ(patched.status.ToString(), native.status.ToString())
        << absl::StrJoin(command, " ");
    return patched.out;
  }
};

GREENLET_TEST_F(Programs, AnExitStatusIsTheProgramsOwn) {
  RunsTheSame({"true"});
  RunsTheSame({"false"});
  RunsTheSame({"sh", "-c", "echo out; echo err >&2; exit 7"});
  RunsTheSame({"cat"}, "from stdin\n");
  RunsTheSame({"sleep", "0.01"});
}

GREENLET_TEST_F(Programs, ASignalEndsItAsItWould) {
  RunsTheSame({"sh", "-c", "kill -TERM $$"});
  RunsTheSame({"timeout", "0.1", "sleep", "60"});
}

GREENLET_TEST_F(Programs, ThreadLocalVariablesAreEachThreadsOwn) {
  const std::string right = "made 2001, destroyed 2000, keys 2000, wrong 0\n";
  EXPECT_EQ(RunsTheSame({"patch/programs/thread_locals"}), right);
  // And with grove in the program itself.
  const CompletedProcess linked = Run({"patch/programs/thread_locals_linked"});
  EXPECT_EQ(linked.out, right);
  EXPECT_EQ(linked.err, "");
}

GREENLET_TEST_F(Programs, CleanupHandlersOfCRunWhenAThreadEnds) {
  EXPECT_EQ(RunsTheSame({"patch/programs/thread_cleanup"}),
            "exits: inner, outer, result 7\n"
            "is cancelled: got x, closed, cancelled\n"
            "is cancelled in a wait with a mutex: unlocked, cancelled\n"
            "returns: popped, result 1\n"
            "exits in a callback of libc: outer, result 3\n");
}

GREENLET_TEST_F(Programs, TheMainThreadMayEndBeforeTheOthers) {
  const std::string joined =
      "main's handler runs\n"
      "the value of main's key is destroyed\n"
      "main's result is 7\n"
      "the last thread ends\n"
      "the process has ended\n";
  EXPECT_EQ(RunsTheSame({"patch/programs/main_exits"}), joined);
  EXPECT_EQ(RunsTheSame({"patch/programs/main_exits", "cancelled"}),
            "main's handler runs\n"
            "the value of main's key is destroyed\n"
            "main was cancelled\n"
            "the last thread ends\n"
            "the process has ended\n");
}

GREENLET_TEST_F(Programs, WhatTheProgramStartsIsNotPatched) {
  const std::string look = "echo [$LD_PRELOAD$GROVE_PATCH_MODULES]";
  EXPECT_EQ(RunsTheSame({"env", "sh", "-c", look}), "[]\n");
  // bash has a getenv() and an unsetenv() of its own.
  EXPECT_EQ(RunsTheSame({"bash", "-c", look + "; sh -c '" + look + "'"}), "[]\n[]\n");
  EXPECT_EQ(RunsTheSame({"bash", "-c", "python3 -c 'print(1)'"}), "1\n");
}

// With threads that wait.
GREENLET_TEST_F(Programs, ASignalOrAnExecEndsItWithItsThreads) {
  const std::string threads =
      "import os, signal, threading, time\n"
      "for _ in range(5):\n"
      "  threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
      "time.sleep(0.01)\n";
  for (const std::string signal : {"TERM", "HUP", "SEGV", "KILL"}) {
    RunsTheSame({"python3", "-c",
                 threads + "os.kill(os.getpid(), signal.SIG" + signal +
                     ")\n"
                     "time.sleep(600)\n"});
  }
  EXPECT_EQ(RunsTheSame({"python3", "-c",
                         threads + "def other():\n"
                                   "  os.execvp('echo', ['echo', 'another'])\n"
                                   "threading.Thread(target=other).start()\n"
                                   "time.sleep(600)\n"}),
            "another\n");
}

GREENLET_TEST_F(Programs, WhatCannotBePatchedIsSaid) {
  CompletedProcess done = Run(Patched({"/no/such/program"}));
  EXPECT_EQ(done.status.exit_code(), 126);
  done = Run(Patched({"no-such-program"}));
  EXPECT_EQ(done.status.exit_code(), 127);
  EXPECT_EQ(done.err, "run: no-such-program: not found\n");
  done = Run(Patched({"/bin/su"}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_NE(done.err.find("another user's"), std::string::npos) << done.err;
  done = Run(Patched({"/sbin/ldconfig", "-p"}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_NE(done.err.find("linked statically"), std::string::npos) << done.err;
  done = Run(Patched({Script("#! /sbin/ldconfig -p\n")}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_NE(done.err.find("linked statically"), std::string::npos) << done.err;
  // A script that is as it should be, and one that exec() refuses.
  RunsTheSame({Script("#!/bin/sh\necho $0 | wc -l\n")});
  done = Run(Patched({Script("#!\n")}));
  EXPECT_EQ(done.status.exit_code(), 126);
  done = Run(Patched({Script("#!" + testing::TempDir() + "script\n")}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_NE(done.err.find("Too many levels"), std::string::npos) << done.err;
  done = Run(Patched({Script("#!/usr/bin/env no-such-program\n")}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_NE(done.err.find("no-such-program: not found"), std::string::npos) << done.err;
  done = Run({"patch/run", "--no-such-module", "true"});
  EXPECT_EQ(done.status.exit_code(), 125);
  EXPECT_NE(done.err.find("usage: run"), std::string::npos);
}

GREENLET_TEST_F(Programs, AScriptThatMayNotBeExecutedIsNot) {
  const std::string script = Script("#!/usr/bin/env python3\nprint(1)\n");
  std::filesystem::permissions(script, std::filesystem::perms::owner_read);
  const CompletedProcess done = Run(Patched({script}));
  EXPECT_EQ(done.status.exit_code(), 126);
  EXPECT_EQ(done.err, "run: " + script + ": Permission denied\n");
  EXPECT_EQ(done.out, "");
}

// By env, as most scripts are: what counts is what env starts.
GREENLET_TEST_F(Programs, AScriptsInterpreterIsPatched) {
  const std::string body = "import sys, time; time.sleep(0.01); print(sys.argv)\n";
  for (const std::string line :
       {"#!/usr/bin/env python3\n", "#! /usr/bin/env -S python3 -B -E\n",
        "#!/usr/bin/python3 -B\n"}) {
    const std::string script = Script(line + body);
    RunsTheSame({script, "an argument", "another"});
    const CompletedProcess done = Run(Patched({script}, {"--report"}));
    EXPECT_NE(done.err.find(", 1 calls, 1 waits"), std::string::npos) << line << done.err;
  }
}

GREENLET_TEST_F(Programs, TheReportSaysWhatWasCalled) {
  const Command nap = {"python3", "-c", "import time; time.sleep(0.01)"};
  CompletedProcess done = Run(Patched(nap, {"--report"}));
  EXPECT_NE(done.err.find("clock_nanosleep (time): "), std::string::npos) << done.err;
  EXPECT_NE(done.err.find(", 1 calls, 1 waits"), std::string::npos) << done.err;
  done = Run(Patched(nap, {"--report", "--no-time"}));
  EXPECT_EQ(done.err.find("clock_nanosleep (time): "), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("(socket): "), std::string::npos) << done.err;
  done = Run(Patched(nap, {"--verbose", "--time"}));
  EXPECT_EQ(done.err.find("(socket): "), std::string::npos) << done.err;
}

GREENLET_TEST_F(Programs, PythonWithAHundredThreads) {
  const std::string out = RunsTheSame({"python3", "patch/programs/threads.py"});
  EXPECT_NE(out.find("100 you asked for /0 you asked for /99"), std::string::npos) << out;
  // And they are no threads to the kernel. (Where no HOME is set, Python looks for the
  // user's, which takes a thread of the pool; not with -S.)
  const Command count = {
      "python3", "-S", "-c",
      "import threading, time\n"
      "for i in range(50): threading.Thread(target=time.sleep, args=(0.2,)).start()\n"
      "print([l for l in open('/proc/self/status') if l.startswith('Threads')][0])"};
  EXPECT_EQ(Run(Patched(count)).out, "Threads:\t1\n\n");
}

GREENLET_TEST_F(Programs, Forks) {
  // Subshells and pipelines are.
  RunsTheSame({"sh", "-c",
               "for i in 1 2 3; do (sleep 0.01; echo $i); done | cat; "
               "(exit 4) & wait $!; echo $?; x=$(echo a; sleep 0.01; echo b); echo $x"});
  RunsTheSame({"python3", "-c",
               "import os, threading, time\n"
               "def work(name):\n"
               "  ts = [threading.Thread(target=time.sleep, args=(0.01,))\n"
               "        for _ in range(5)]\n"
               "  [t.start() for t in ts]; [t.join() for t in ts]\n"
               "  os.write(1, name)\n"
               "threading.Thread(target=time.sleep, args=(0.2,)).start()\n"
               "pid = os.fork()\n"
               "if pid == 0:\n"
               "  work(b'child ')\n"
               "  os._exit(6)\n"
               "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)\n"
               "work(b'parent ')\n"});
}

// But those of the hub: its threads go on waiting, and those of a child that does so.
GREENLET_TEST_F(Programs, ClosesAllDescriptorsThatItFinds) {
  EXPECT_EQ(RunsTheSame({"patch/programs/closing"}).substr(0, 11), "close: 3 4\n");
  EXPECT_EQ(RunsTheSame({"python3", "-c",
                         "import os, time, threading\n"
                         "os.closerange(3, 4096)\n"
                         "t = threading.Thread(target=time.sleep, args=(0.01,))\n"
                         "t.start(); t.join(); print('joined')\n"}),
            "joined\n");
}

// Scripts name descriptors by number: those of the hub are out of their way.
GREENLET_TEST_F(Programs, RedirectsDescriptorsByNumber) {
  RunsTheSame(
      {"sh", "-c",
       "exec 3>&1 4>&1 5>&1 6>&1 7>&1 8>&1 9>&1; for i in 3 4 5 6 7 8 9; do echo $i "
       ">&$i; "
       "done; (exec 3>&1; sleep 0.01; echo inner >&3); sleep 0.01; ls /proc/self/fd"});
  RunsTheSame({"sh", "-c", "ulimit -n 64; (echo a; sleep 0.01; echo b); sleep 0.01"});
}

// They read and write by stdio, more than fits into a pipe.
GREENLET_TEST_F(Programs, FiltersByStdio) {
  std::string input;
  for (int i = 0; i < 20'000; ++i) input += std::to_string(i * 7919 % 20'000) + "\n";
  for (const Command& filter : std::vector<Command>{{"sed", "s/1/one/g"},
                                                    {"sort", "-n"},
                                                    {"uniq"},
                                                    {"cut", "-c1-2"},
                                                    {"tr", "0-9", "a-j"},
                                                    {"nl"},
                                                    {"grep", "7"},
                                                    {"paste", "-", "-"},
                                                    {"head", "-n", "5"},
                                                    {"sort", "no such file"}}) {
    RunsTheSame(filter, input);
  }
  EXPECT_EQ(RunsTheSame({"sort", "-n"}, "3\n1\n2\n"), "1\n2\n3\n");
  RunsTheSame({"sh", "-c", "seq 30000 | sed -n '/9$/p' | (sleep 0.01; tail -n 3)"});
}

// What it asks without a newline is seen before it waits for the answer.
GREENLET_TEST_F(Programs, ADialogueAtATerminal) {
  const Command program = {"patch/programs/prompting"};
  for (const Command& command : {program, Patched(program)}) {
    const int person = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_EQ(grantpt(person), 0);
    ASSERT_EQ(unlockpt(person), 0);
    const int terminal = open(ptsname(person), O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios raw;
    ASSERT_EQ(tcgetattr(terminal, &raw), 0);
    cfmakeraw(&raw);  // without an echo
    ASSERT_EQ(tcsetattr(terminal, TCSANOW, &raw), 0);
    absl::StatusOr<Subprocess> started = Subprocess::Start(
        command, {.in = Stdio::Fd(terminal), .out = Stdio::Fd(terminal)});
    ASSERT_TRUE(started.ok()) << started.status();
    const auto hear = [person](const std::string& expected) {
      std::string heard;
      char c;
      while (heard.size() < expected.size() && read(person, &c, 1) == 1) heard += c;
      EXPECT_EQ(heard, expected);
    };
    hear("name? ");
    EXPECT_EQ(write(person, "ann\n", 4), 4);
    hear("again? ");
    EXPECT_EQ(write(person, "bob\n", 4), 4);
    hear("hello bob\n");
    EXPECT_EQ(started->Wait()->exit_code(), 0);
    close(terminal);
    close(person);
  }
}

GREENLET_TEST_F(Programs, ClientsOfRedis) {
  const std::string port = std::to_string(FreePort());
  const RealServer server({"redis-server", "--port", port, "--bind", "127.0.0.1",
                           "--save", "", "--appendonly", "no"},
                          "eady to accept connections");
  ASSERT_TRUE(server.ready());
  RunsTheSame({"redis-cli", "-p", port, "set", "key", "value"});
  EXPECT_EQ(RunsTheSame({"redis-cli", "-p", port, "get", "key"}), "value\n");
  RunsTheSame({"redis-cli", "-p", port}, "echo one\necho two\nblpop nothing 0.05\n");
  RunsTheSame({"redis-cli", "-p", std::to_string(FreePort()), "ping"});
}

GREENLET_TEST_F(Programs, ClientsOfPostgres) {
  const PostgresServer server(20);
  ASSERT_TRUE(server.ready());
  const auto psql = [&](Command more) {
    Command command = {server.programs() + "/psql",
                       "-X",
                       "-h",
                       "localhost",
                       "-p",
                       server.port(),
                       "-U",
                       "me",
                       "-d",
                       "postgres"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  EXPECT_EQ(RunsTheSame(psql({"-At", "-c", "SELECT 6 * 7"})), "42\n");
  RunsTheSame(psql({"-c", "SELECT i, i * i FROM generate_series(1, 20000) i"}));
  RunsTheSame(psql({"-c", "SELECT no_such_column"}));
  RunsTheSame(psql({"-v", "ON_ERROR_STOP=1"}), "SELECT 1;\nSELECT 1/0;\nSELECT 2;\n");
  RunsTheSame(psql({}),
              "CREATE TEMP TABLE t (i int, s text);\n"
              "COPY t FROM stdin;\n1\tone\n2\ttwo\n\\.\n"
              "\\copy t to stdout\nSELECT pg_sleep(0.01);\nTABLE t;\n"
              "\\! echo from a shell\n\\echo done\n");
  RunsTheSame({server.programs() + "/psql", "-h", "localhost", "-p",
               std::to_string(FreePort()), "-U", "me", "-d", "postgres", "-c", "x"});
}

GREENLET_TEST_F(Programs, Stressors) {
  // All that do not wait in pause(2) for a signal, nor count whom futex(2) woke in
  // another process.
  for (const std::string stressor :
       {"pipe", "poll", "sock", "sockpair", "pthread", "sleep", "nanosleep", "epoll",
        "eventfd", "fifo", "udp", "fork", "switch"}) {
    const Command command = {"stress-ng",
                             "--temp-path",
                             ::testing::TempDir(),
                             "--" + stressor,
                             "1",
                             "--" + stressor + "-ops",
                             "20"};
    const CompletedProcess native = Run(command);
    const CompletedProcess patched = Run(Patched(command));
    EXPECT_EQ(native.status.ToString(), patched.status.ToString())
        << stressor << patched.err;
    // What else it says is how long it took.
    const auto succeeded = [](const CompletedProcess& p) {
      return p.err.find("successful run completed") != std::string::npos;
    };
    EXPECT_TRUE(succeeded(native)) << stressor << native.err;
    EXPECT_TRUE(succeeded(patched)) << stressor << patched.err;
  }
}

GREENLET_TEST_F(Programs, WithAnotherAllocator) {
  for (const std::string allocator : {"libjemalloc.so.2", "libtcmalloc_minimal.so.4"}) {
    const auto with = [&](const Command& command) {
      Command all = {"env", "LD_PRELOAD=" + allocator};
      all.insert(all.end(), command.begin(), command.end());
      return all;
    };
    const Command python = {"python3", "patch/programs/threads.py"};
    const CompletedProcess native = Run(with(python));
    CompletedProcess patched = Run(with(Patched(python)));
    EXPECT_EQ(patched.out, native.out);
    EXPECT_EQ(patched.err, native.err);
    EXPECT_EQ(patched.status.ToString(), native.status.ToString());
    // It is there, and keeps its locks.
    patched = Run(with(Patched({"python3", "-c", ""}, {"--report"})));
    EXPECT_NE(patched.err.find(allocator + ": excluded"), std::string::npos)
        << patched.err;
    // And with grove in the program itself.
    const CompletedProcess linked = Run(with({"patch/programs/allocating"}));
    EXPECT_EQ(linked.out, Run({"patch/programs/allocating"}).out);
    EXPECT_EQ(linked.err, "");
    EXPECT_EQ(linked.out.substr(0, 14), "22000 strings,");
  }
}

// A server that is patched, or not, for clients that are not.
GREENLET_TEST_F(Programs, PythonServesHttp) {
  const std::string folder = EmptyFolder("www");
  std::string body;
  for (int i = 0; i < 50'000; ++i) body += std::to_string(i) + "\n";
  std::ofstream(folder + "/file") << body;
  std::vector<std::string> answers;
  for (const bool patched : {false, true}) {
    const std::string port = std::to_string(FreePort());
    const Command command = {"python3",   "-u",          "-m",   "http.server", "--bind",
                             "127.0.0.1", "--directory", folder, port};
    const RealServer server(patched ? Patched(command) : command, "Serving HTTP");
    ASSERT_TRUE(server.ready());
    const std::string url = absl::StrCat("http://127.0.0.1:", port, "/file");
    std::vector<Greenlet<>> clients;
    for (int i = 0; i < 10; ++i) {
      clients.push_back(Spawn([&] { EXPECT_EQ(Run({"curl", "-s", url}).out, body); }));
    }
    for (const auto& client : clients) client.Join();
    // All that it says, but for the time.
    answers.push_back(Run({"curl", "-s", "-i", url + ".not"}).out);
    std::string& answer = answers.back();
    const size_t date = answer.find("Date: ");
    ASSERT_NE(date, answer.npos) << answer;
    answer.erase(date, answer.find('\n', date) - date);
  }
  EXPECT_EQ(answers[0], answers[1]);
  std::filesystem::remove_all(folder);
}

GREENLET_TEST_F(Programs, ClientsOfHttp) {
  const std::string folder = EmptyFolder("www");
  std::string body;
  for (int i = 0; i < 50'000; ++i) body += std::to_string(i) + "\n";
  std::ofstream(folder + "/file") << body;
  const std::string port = std::to_string(FreePort());
  {
    const RealServer server({"python3", "-u", "-m", "http.server", "--bind", "127.0.0.1",
                             "--directory", folder, port},
                            "Serving HTTP");
    ASSERT_TRUE(server.ready());
    const std::string url = absl::StrCat("http://localhost:", port, "/file");
    EXPECT_EQ(RunsTheSame({"curl", "-s", url}), body);
    EXPECT_EQ(RunsTheSame({"wget", "-q", "-O", "-", url}), body);
    RunsTheSame({"curl", "-s", "-f", url + ".not"});
    // Several at once: curl's own threads and polls.
    RunsTheSame({"curl", "-s", "--no-progress-meter", "--parallel", url, url, url, url});
  }
  std::filesystem::remove_all(folder);
}

// Serves that many connections, all of them open at once. The first line of its stderr.
std::string ServesThousands(const Command& command, int connections) {
  absl::StatusOr<Subprocess> server =
      Subprocess::Start(command, {.out = Stdio::Pipe(), .err = Stdio::Pipe()});
  EXPECT_TRUE(server.ok()) << server.status();
  if (!server.ok()) return "";
  BufferedReader lines(server->out());
  const auto line = [](BufferedReader& reader) {
    const auto read = reader.ReadLine();
    EXPECT_TRUE(read.ok() && *read) << read.status();
    return std::string(read.ok() && *read ? **read : "");
  };
  const absl::StatusOr<net::Address> address =
      net::Address::Parse(line(lines).substr(sizeof "listening on " - 1));
  EXPECT_TRUE(address.ok()) << address.status();
  if (!address.ok()) return "";
  {
    std::vector<net::TcpStream> clients;
    for (int i = 0; i < connections; ++i) {
      absl::StatusOr<net::TcpStream> client = net::TcpStream::Connect(*address);
      EXPECT_TRUE(client.ok()) << client.status();
      if (!client.ok()) return "";
      clients.push_back(*std::move(client));
    }
    bool all = true;
    for (int round = 0; round < 2; ++round) {
      for (net::TcpStream& client : clients) all &= client.Write("0123456789").ok();
      for (net::TcpStream& client : clients) {
        char buffer[10];
        all &= client.ReadExactly(absl::MakeSpan(buffer)).ok();
      }
    }
    EXPECT_TRUE(all);
  }
  EXPECT_EQ(line(lines), absl::StrCat("served ", connections, " connections and ",
                                      20 * connections, " bytes"));
  BufferedReader err(server->err());
  const std::string said = line(err);
  EXPECT_EQ(server->Wait()->exit_code(), 0);
  return said;
}

// Each of its threads is one to itself; all of them are greenlets of one thread.
GREENLET_TEST_F(Programs, AThreadPerConnectionServerWithFiveThousand) {
  constexpr int kConnections = 5000;
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_GT(limit.rlim_max, kConnections + 100u)
      << "this test needs more descriptors: ulimit -n";
  const Command server = {"patch/programs/thread_server", std::to_string(kConnections)};
  EXPECT_EQ(ServesThousands(Patched(server), kConnections), "threads 1");
  // And without. (A machine may not allow so many: ulimit -u, and its cgroup's pids.max.)
  EXPECT_EQ(ServesThousands(server, kConnections),
            absl::StrCat("threads ", kConnections));
}

}  // namespace
}  // namespace grove::patch
