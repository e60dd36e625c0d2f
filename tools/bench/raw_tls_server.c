// What grove's TLS is measured against: a server by hand, one thread, level-triggered
// epoll, BoringSSL on the socket itself, and nothing that is not needed.
//
//   raw_tls_server --chain=FILE --key=FILE [--host=127.0.0.1] [--port=0] [--source]
//
// Echoes; with --source it sends to each connection for as long as that reads. Prints
// "listening on HOST:PORT" when it is ready; SIGTERM ends it.
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kEvents = 512, kBufferSize = 16 * 1024 };

struct Connection {
  SSL* ssl;
  int events;
  int waiting;  // of the echo: bytes that could not be sent
  char* bytes;
};

static char buffer[kBufferSize];
static int epoll_fd;
static int source;

static void Fail(const char* what) {
  fprintf(stderr, "raw_tls_server: %s: %s\n", what, strerror(errno));
  ERR_print_errors_fp(stderr);
  exit(1);
}

static void OnTerm(int signal_number) {
  (void)signal_number;
  _exit(0);
}

static void Watch(struct Connection* c, int events) {
  if (c->events == events) return;
  struct epoll_event e = {.events = (uint32_t)events, .data.ptr = c};
  if (epoll_ctl(epoll_fd, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, SSL_get_fd(c->ssl),
                &e) != 0) {
    Fail("epoll_ctl");
  }
  c->events = events;
}

static void Drop(struct Connection* c) {
  const int fd = SSL_get_fd(c->ssl);
  SSL_free(c->ssl);
  close(fd);
  free(c->bytes);
  free(c);
}

// After a call that did not succeed: waits for what it needs, or gives up.
static void Later(struct Connection* c, int result) {
  switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
      Watch(c, EPOLLIN);
      break;
    case SSL_ERROR_WANT_WRITE:
      Watch(c, EPOLLOUT);
      break;
    case SSL_ERROR_ZERO_RETURN:
      SSL_shutdown(c->ssl);
      Drop(c);
      break;
    default:
      Drop(c);
  }
}

static void Send(struct Connection* c) {
  for (int i = 0; i < 16; ++i) {
    const int n = SSL_write(c->ssl, buffer, sizeof buffer);
    if (n <= 0) {
      Later(c, n);
      return;
    }
  }
  Watch(c, EPOLLOUT);
}

static void Echo(struct Connection* c) {
  if (c->waiting > 0) {
    const int n = SSL_write(c->ssl, c->bytes, c->waiting);
    if (n <= 0) {
      Later(c, n);
      return;
    }
    free(c->bytes);
    c->bytes = NULL;
    c->waiting = 0;
    Watch(c, EPOLLIN);
  }
  do {
    const int n = SSL_read(c->ssl, buffer, sizeof buffer);
    if (n <= 0) {
      Later(c, n);
      return;
    }
    const int sent = SSL_write(c->ssl, buffer, n);
    if (sent <= 0) {
      c->bytes = malloc((size_t)n);
      if (c->bytes == NULL) Fail("malloc");
      memcpy(c->bytes, buffer, (size_t)n);
      c->waiting = n;
      Later(c, sent);
      return;
    }
  } while (SSL_pending(c->ssl) > 0);
}

static void Go(struct Connection* c) {
  ERR_clear_error();
  if (SSL_in_init(c->ssl)) {
    const int result = SSL_do_handshake(c->ssl);
    if (result != 1) {
      Later(c, result);
      return;
    }
    if (!source) {
      Watch(c, EPOLLIN);
      return;
    }
  }
  if (source) {
    Send(c);
  } else {
    Echo(c);
  }
}

static void AcceptAll(int listener, SSL_CTX* context) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      Fail("accept4");
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct Connection* c = calloc(1, sizeof *c);
    if (c == NULL) Fail("calloc");
    c->ssl = SSL_new(context);
    if (c->ssl == NULL || !SSL_set_fd(c->ssl, fd)) Fail("SSL_new");
    SSL_set_accept_state(c->ssl);
    SSL_set_shed_handshake_config(c->ssl, 1);
    Watch(c, EPOLLIN);
  }
}

static int Listen(const char* host, int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) Fail("--host");
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) Fail("bind");
  if (listen(fd, 65535) != 0) Fail("listen");
  socklen_t size = sizeof address;
  if (getsockname(fd, (struct sockaddr*)&address, &size) != 0) Fail("getsockname");
  printf("listening on %s:%d\n", host, ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

// The value of "--name=value", or NULL.
static const char* Flag(const char* name, const char* argument) {
  const size_t length = strlen(name);
  if (strncmp(argument, name, length) != 0 || argument[length] != '=') return NULL;
  return argument + length + 1;
}

int main(int argc, char** argv) {
  const char* host = "127.0.0.1";
  const char* chain = NULL;
  const char* key = NULL;
  int port = 0;
  for (int i = 1; i < argc; ++i) {
    const char* value;
    if ((value = Flag("--host", argv[i])) != NULL) {
      host = value;
    } else if ((value = Flag("--port", argv[i])) != NULL) {
      port = atoi(value);
    } else if ((value = Flag("--chain", argv[i])) != NULL) {
      chain = value;
    } else if ((value = Flag("--key", argv[i])) != NULL) {
      key = value;
    } else if (strcmp(argv[i], "--source") == 0) {
      source = 1;
    } else {
      fprintf(stderr, "raw_tls_server: unknown argument %s\n", argv[i]);
      return 2;
    }
  }
  signal(SIGTERM, &OnTerm);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) Fail("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) Fail("setrlimit");

  SSL_CTX* context = SSL_CTX_new(TLS_method());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (chain == NULL || key == NULL ||
      !SSL_CTX_use_certificate_chain_file(context, chain) ||
      !SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM)) {
    Fail("--chain or --key");
  }
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) Fail("epoll_create1");
  const int listener = Listen(host, port);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e) != 0) Fail("epoll_ctl");

  static struct epoll_event events[kEvents];
  for (;;) {
    const int n = epoll_wait(epoll_fd, events, kEvents, -1);
    if (n < 0 && errno != EINTR) Fail("epoll_wait");
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr == NULL) {
        AcceptAll(listener, context);
      } else {
        Go(events[i].data.ptr);
      }
    }
  }
}
