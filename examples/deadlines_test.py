"""deadlines, with calls that take no time, and calls that take for ever.

Usage: deadlines_test.py DEADLINES
"""

import testing
from testing import PROGRAMS, run

# What is not to be late has no limit, and what is late never comes.
AT_ONCE = ["--user=0s", "--posts=0s", "--ads=0s", "--archive=0s", "--mirror=inf"]
NO_LIMIT = ["--budget=inf", "--ads_limit=inf"]


class DeadlinesTest(testing.ExampleTest):
    def run_it(self, *flags, status=0):
        done = run(PROGRAMS[0], *AT_ONCE, *NO_LIMIT, *flags, status=status)
        *calls, page = done.stdout.splitlines()
        self.err = done.stderr
        return set(calls), page

    def test_all_is_there(self):
        self.assertEqual(
            self.run_it(),
            ({"user: done", "posts: done", "ads: done", "archive: done",
              "mirror: not needed any more"},
             "page: user, posts, archive, ads"))

    def test_the_other_archive_is_faster(self):
        self.assertEqual(
            self.run_it("--archive=inf", "--mirror=0s"),
            ({"user: done", "posts: done", "ads: done", "archive: not needed any more",
              "mirror: done"},
             "page: user, posts, mirror, ads"))

    def test_ads_that_are_late_are_left_out(self):
        calls, page = self.run_it("--ads=inf", "--ads_limit=20ms")
        self.assertIn("ads: out of time", calls)
        self.assertEqual(page, "page: user, posts, archive, no ads")

    def test_the_budget_ends_all_that_waits(self):
        calls, page = self.run_it("--posts=inf", "--ads=inf", "--archive=inf",
                                  "--budget=2s", status=1)
        self.assertLessEqual({"user: done"}, calls)
        # Each is told by its own scope, or killed by the group whose other member was.
        for what in ["posts", "ads", "archive", "mirror"]:
            self.assertTrue(
                {f"{what}: out of time", f"{what}: not needed any more"} & calls, calls)
        self.assertEqual(page, "no page: DEADLINE_EXCEEDED")

    def test_a_failure_ends_the_others(self):
        calls, page = self.run_it("--no_user", "--posts=inf", "--ads=inf", "--archive=inf",
                                  status=1)
        self.assertEqual(
            calls, {"user: done", "posts: not needed any more", "ads: not needed any more",
                    "archive: not needed any more", "mirror: not needed any more"})
        self.assertEqual(page, "no page: NOT_FOUND")
        self.assertIn("no such user", self.err)

    def test_flags(self):
        self.explains("--budget", "--ads_limit", "--mirror")
        self.refuses("--budget=x", "word")


testing.main()
