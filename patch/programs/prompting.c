// Asks at a terminal, as programs always have: without a newline, which stdio writes out
// because the answer is to be read.

#include <stdio.h>

int main(void) {
  char name[100];
  printf("name? ");
  if (scanf("%99s", name) != 1) return 1;
  printf("again? ");
  if (scanf("%99s", name) != 1) return 1;
  printf("hello %s\n", name);
  return 0;
}
