#!/usr/bin/env bash
# Runs the tests of hub and green for aarch64 on another machine: cross-compiled, under
# qemu's user mode emulation.
#
#   tools/aarch64_test.sh             all
#   tools/aarch64_test.sh --context   the switch alone; fetches nothing
#
# The arm64 libraries (libev, Abseil, GoogleTest) come from the distribution's packages,
# unpacked below a cache folder; the system's own package database is not touched.
#
#   GROVE_AARCH64_CACHE   that folder; default ${XDG_CACHE_HOME:-$HOME/.cache}/grove-aarch64
#
# A line per test file, then "N passed, N failed".
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cache=${GROVE_AARCH64_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/grove-aarch64}
sysroot=$cache/sysroot
libs=$sysroot/usr/lib/aarch64-linux-gnu
packages=(libev-dev libev4 libabsl-dev libabsl20220623 libgtest-dev libgmock-dev)
seconds_per_test=300

# --- tests that qemu, and not grove, fails ----------------------------------------------

# excluded FILE: a GoogleTest filter of cases that cannot run under qemu's user mode.
# Each group says why; what fails for any other reason does not belong here.
excluded() {
  local cases=()
  case $1 in
    green/internal/stack_test)
      # qemu's setrlimit(2) takes RLIMIT_AS and does nothing.
      cases=(StackDeathTest.*RunningOutOfAddresses*)
      ;;
    green/stack_overflow_test)
      # qemu shows a program its own mappings in /proc/self/maps, but not in
      # /proc/self/task/<id>/maps, where absl::Symbolize looks: it finds no name.
      cases=(StackOverflowDeathTest.NamesTheGreenletItsStackSizeAndItsFrames)
      ;;
    # The same: what looks for the names of functions.
    green/internal/backtrace_test)
      cases=(
        BacktraceTest.GoesThroughWhatHasNoFramePointers
        BacktraceTest.OfAGreenletThatWaitsLeadsToWhereItBegan
        BacktraceTest.OfTheMainGreenletLeadsToMain
      )
      ;;
    green/dump_test)
      cases=(
        DumpAll.AHubThatIsHeldUpIsShownWithTheStackOfWhoDoesIt
        DumpAll.FromAThreadWithoutAHub
        DumpOnSignal.WritesADumpOfAllHubs
        DumpTest.GreenletsWithTheSameStackAreListedTogether
      )
      ;;
    green/monitor_test)
      cases=(
        MonitorTest.ACallbackThatStallsIsNamedAsOne
        MonitorTest.AStalledGreenletIsNamedWithItsStack
        MonitorThread.FindsAStallByItself
        # qemu looks for minutes for a thread's stack that no machine has room for.
        MonitorDeathTest.WithoutAThreadItSaysSo
      )
      ;;
    green/testing/greenlet_test_test)
      # They start programs for this processor, which need an emulator as well.
      cases=(Failure.* Seeds.*)
      ;;
    green/os/subprocess_test | green/os/run_test)
      # qemu makes a fork of vfork, and knows no CLONE_PIDFD: no Subprocess starts.
      cases=('*')
      ;;
    green/os/waitpid_test)
      # As above; and without a vfork, posix_spawn() returns before the child has a group.
      cases=(
        WaitPidTest.NeverTakesAway* WaitPidTest.ByItsPid*
        WaitPidTest.AProcessGroupIsThoseInIt
      )
      ;;
    green/thread_pool_fork_test)
      # qemu itself dies, or hangs, in a forked child that starts threads (assertions in its
      # plugins/core.c and cpu-exec.c).
      cases=('*')
      ;;
    green/hub_group_test)
      # It asks for stacks of 64 TiB, for which qemu looks until the end of time.
      cases=(HubGroup.AThreadThatCannotStartLeavesNone)
      ;;
    green/os/fork_test)
      # As above; see below for LoopExit; and qemu itself dies at times in a child of
      # several threads (an assertion in its plugins/core.c).
      cases=(
        ForkTest.WhileOtherHubsAreBusy
        ForkTest.TheChildsHubWorks ForkTest.AChildKnows*
        ForkMainTest.TheMainGreenlet* ForkMainTest.AHubMayEnd*
      )
      ;;
    green/shutdown_test)
      # They start a program for this processor, which needs an emulator as well.
      cases=(ShutdownProgram.*)
      ;;
    # qemu has a thread of its own, which /proc/self/task shows: a process never has one
    # thread only, so that LoopExit is never certain, and a test that waits for the threads
    # it has joined to disappear from there waits for ever.
    green/pool_test)
      cases=(PoolTest.OfSizeZeroForEverIsALoopExit)
      ;;
    green/signals_test)
      cases=(SignalListenerTest.ListeningAloneDoesNotKeepTheHubGoing)
      ;;
    green/sleep_test)
      cases=(
        LoopExitDeathTest.AMainGreenletThatMayNotBeInterruptedIsFatal
        LoopExitDeathTest.ItComesWhenTheLastThreadThatCouldPostEndsWithoutAWord
        LoopExitTest.APostFromAnotherThreadWakesAHubThatSleeps
        LoopExitTest.ATimerThatIsSetAfterAWaitForMailIsNotLate
        LoopExitTest.AThreadMakesItsOwnHubWithTheFirstCall
        LoopExitTest.ReportsWhoWaitsForWhatAndWhereItWasSpawned
        LoopExitTest.TheLastPostOfAThreadThatHasEndedIsNotOverlooked
        LoopExitTest.WhenUncertainTheHubWaitsForTheOtherThread
        LoopExitTest.WithPolicyAlways*
        SleepTest.*LoopExit*
      )
      ;;
    green/task_group_test)
      cases=(TaskGroupTest.ADeadlockNamesTheGroup)
      ;;
    green/timeout_test)
      cases=(TimeoutTest.OneWithoutRefDoesNotKeepTheHubGoing)
      ;;
  esac
  (IFS=: && echo "${cases[*]-}")
}

# qemu up to 7.2 says yes to every madvise(2) that it does not know, and does nothing:
# stacks would have no guards. Linked in between, this answers as a kernel without
# MADV_GUARD_INSTALL does, and stacks get their guards by mprotect(2).
honest_madvise='
#include <errno.h>
#include <stddef.h>
int __real_madvise(void* address, size_t length, int advice);
int __wrap_madvise(void* address, size_t length, int advice) {
  if (advice == 102) {
    errno = EINVAL;
    return -1;
  }
  return __real_madvise(address, length, advice);
}
'

# --- tools ------------------------------------------------------------------------------

missing=()
command -v aarch64-linux-gnu-g++ > /dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 > /dev/null || missing+=(qemu-user)
if ((${#missing[@]})); then
  echo "aarch64_test: missing packages; install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/include" "$work/obj" "$work/bin"
# Headers are included as "grove/<folder>/<header>", as Bazel arranges it.
ln -s "$root" "$work/include/grove"

flags=(-std=c++20 -O1 -g1 -fno-omit-frame-pointer -fstack-clash-protection
  -Wall -Wextra -Werror "-I$work/include")
passed=0
failed=0

# verdict NAME STATUS LOG [NOTE]: counts and prints the outcome of one test.
verdict() {
  if (($2 == 0)); then
    passed=$((passed + 1))
    echo "PASSED $1${4:+ ($4)}"
  else
    failed=$((failed + 1))
    case $2 in
      124 | 137) echo "FAILED $1 (no end within $seconds_per_test s)" ;;
      *) echo "FAILED $1 (status $2)" ;;
    esac
    # What went well is of no interest here, but for where it ended.
    grep -E '^\[ RUN' "$3" | tail -n 1 | sed 's/^/  | last: /' || true
    grep -vE '^\[( RUN|       OK|-----)|^$|gtest-death-test.cc.*Death tests use fork' "$3" |
      tail -n 60 | sed 's/^/  | /' || true
  fi
}

# run COMMAND...: in a scratch folder, with a limit of time.
run() {
  (cd "$work" && exec timeout -k 10 "$seconds_per_test" "$@") < /dev/null
}

finish() {
  echo "$passed passed, $failed failed"
  exit $((failed > 0 ? 1 : 0))
}

# --- first the switch, which needs no library --------------------------------------------

context_test() {
  local log=$work/context_test.log status=0
  {
    aarch64-linux-gnu-g++ "${flags[@]}" -static -o "$work/bin/context_test" \
      "$root/green/internal/context_test.cc" "$root/green/internal/context.cc" &&
      run qemu-aarch64 "$work/bin/context_test"
  } > "$log" 2>&1 || status=$?
  verdict green/internal/context_test "$status" "$log" static
}

context_test
[[ ${1:-} != --context ]] || finish

# --- then the arm64 libraries --------------------------------------------------------------

# A private apt: the system's sources and keys, but folders of its own. As far as it
# knows, this is an arm64 machine on which nothing is installed.
fetch() {
  local apt=$cache/apt
  mkdir -p "$apt"/{lists/partial,archives/partial} "$cache/debs"
  : > "$apt/status"
  cat > "$apt/apt.conf" << CONF
#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
CONF
  (
    cd "$cache/debs"
    rm -f ./*.deb
    # Some of a machine's sources may have no arm64, or be out of reach: what counts is
    # whether the packages are found.
    apt-get -q -c "$apt/apt.conf" update || true
    apt-get -q -c "$apt/apt.conf" download "${packages[@]}"
  )
  rm -rf "$sysroot"
  mkdir -p "$sysroot.part"
  local deb
  for deb in "$cache"/debs/*.deb; do dpkg -x "$deb" "$sysroot.part"; done
  mv "$sysroot.part" "$sysroot"
  # The indices are large, and of no more use.
  rm -rf "$apt" "$cache/debs"
}

if [[ ! -d $sysroot ]]; then
  echo "aarch64_test: fetching ${packages[*]} for arm64" >&2
  mkdir -p "$cache"
  rm -rf "$sysroot.part"
  # Not as a condition, in which bash would go on after a command that fails.
  set +e
  (set -e && fetch) > "$cache/fetch.log" 2>&1
  status=$?
  set -e
  if ((status)); then
    tail -n 20 "$cache/fetch.log" >&2
    echo "aarch64_test: could not fetch them; the whole log: $cache/fetch.log" >&2
    failed=$((failed + 1))
    finish
  fi
fi
flags+=(-isystem "$sysroot/usr/include")

# --- then all else -----------------------------------------------------------------------

cd "$root"
# In the library, though its name is that of a test.
testing=green/testing/greenlet_test.cc
mapfile -t sources < <(
  find hub green -name '*.cc' '(' ! -name '*_test.cc' -o -path "$testing" ')' | sort)
# full_disk_test and file_watcher_limit_test start themselves again by programs for this
# processor, which cannot start one for another.
mapfile -t tests < <(
  find hub green -name '*_test.cc' ! -path "$testing" ! -path green/internal/context_test.cc \
    ! -path green/os/full_disk_test.cc ! -path green/os/file_watcher_limit_test.cc | sort)

# compile SOURCE: to an object named after it; what the compiler says goes beside it.
compile() {
  local object=$work/obj/${1//\//__}
  aarch64-linux-gnu-g++ "${flags[@]}" -c -o "${object%.cc}.o" "$1" > "${object%.cc}.log" 2>&1 ||
    rm -f "${object%.cc}.o"
}

# As many at once as there are processors.
jobs_at_once=$(nproc)
for source in "${sources[@]}" "${tests[@]}"; do
  while (($(jobs -pr | wc -l) >= jobs_at_once)); do wait -n || true; done
  compile "$source" &
done
wait

objects=()
broken=0
for source in "${sources[@]}"; do
  object=$work/obj/${source//\//__}
  object=${object%.cc}
  if [[ ! -e $object.o ]]; then
    verdict "$source" 1 "$object.log"
    broken=1
  elif aarch64-linux-gnu-nm "$object.o" | grep -q ' T main$'; then
    : # a program of its own, not part of the library
  else
    objects+=("$object.o")
  fi
done
((broken == 0)) || finish
aarch64-linux-gnu-ar rcs "$work/libgrove.a" "${objects[@]}"
madvise=$work/obj/madvise.o
aarch64-linux-gnu-gcc -x c -c -o "$madvise" - <<< "$honest_madvise"

for test in "${tests[@]}"; do
  name=${test%.cc}
  object=$work/obj/${name//\//__}
  if [[ ! -e $object.o ]]; then
    verdict "$name" 1 "$object.log"
    continue
  fi
  main=("$libs/libgtest_main.a")
  aarch64-linux-gnu-nm "$object.o" | grep -q ' T main$' && main=()
  filter=$(excluded "$name")
  log=$object.log
  binary=$work/bin/${name//\//__}
  status=0
  {
    aarch64-linux-gnu-g++ -o "$binary" "$object.o" "$work/libgrove.a" "$madvise" \
      -Wl,--wrap=madvise "${main[@]}" \
      "$libs/libgmock.a" "$libs/libgtest.a" "$libs/libev.a" \
      -Wl,--as-needed "$libs"/libabsl_*.so -Wl,--no-as-needed \
      "-Wl,-rpath-link,$libs" -pthread &&
      run env TEST_TMPDIR="$work" qemu-aarch64 -L /usr/aarch64-linux-gnu \
        -E LD_LIBRARY_PATH="$libs" "$binary" "--gtest_filter=*${filter:+-$filter}"
  } > "$log" 2>&1 || status=$?
  ran=$(sed -n 's/^\[==========\] \([0-9]*\) tests\{0,1\} from .* ran\..*/\1/p' "$log")
  if ((status == 0)) && [[ ${ran:-0} == 0 ]]; then
    echo "SKIPPED $name: qemu's user mode runs none of its cases"
    continue
  fi
  note=${ran:+$ran cases}
  verdict "$name" "$status" "$log" "$note${filter:+, without $filter}"
done
finish
