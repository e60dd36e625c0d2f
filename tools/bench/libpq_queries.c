// Queries by libpq from a thread for each connection. It knows nothing of grove; bench
// runs it with patch/run, where the threads are greenlets of one hub, and without.
//
//   libpq_queries CONNINFO THREADS QUERIES
//
// Prints the CPU microseconds of this process for each query, once all are connected.

#include <postgresql/libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const char* target;
static long queries;
static pthread_barrier_t connected;

static double CpuUs(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return 1e6 * (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
         (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void* Session(void* unused) {
  (void)unused;
  PGconn* c = PQconnectdb(target);
  if (PQstatus(c) != CONNECTION_OK) {
    fprintf(stderr, "%s", PQerrorMessage(c));
    exit(1);
  }
  pthread_barrier_wait(&connected);
  for (long i = 0; i < queries; ++i) {
    PGresult* r = PQexec(c, "SELECT 1");
    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
      fprintf(stderr, "%s", PQerrorMessage(c));
      exit(1);
    }
    PQclear(r);
  }
  PQfinish(c);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  target = argv[1];
  const long threads = atol(argv[2]);
  queries = atol(argv[3]);
  if (threads < 1 || queries < 1) return 2;
  pthread_barrier_init(&connected, NULL, (unsigned)threads + 1);
  pthread_t* all = calloc((size_t)threads, sizeof(pthread_t));
  for (long i = 0; i < threads; ++i) {
    if (pthread_create(&all[i], NULL, &Session, NULL) != 0) return 1;
  }
  pthread_barrier_wait(&connected);
  const double before = CpuUs();
  for (long i = 0; i < threads; ++i) pthread_join(all[i], NULL);
  printf("%.3f\n", (CpuUs() - before) / (double)(threads * queries));
  free(all);
  return 0;
}
