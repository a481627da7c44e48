/*
 * The floor: what a delivery costs when nothing but the kernel is in the way.
 *
 * One process, one epoll set, no allocation per connection, no timers. A GET is answered with a header
 * and held; a frame that comes in on the second port is written to every held connection with one
 * non-blocking send() each. It parses no path, replays nothing and drops whoever is slow: a server that
 * does real work can only come near to it.
 *
 * usage: floor VIEWER_PORT PUBLISH_PORT          (127.0.0.1 only)
 *
 * Publish port, one request at a time: "<length>\n<bytes>" in, "<sent> <closed> <nanoseconds>\n" out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 512, MAX_FRAME = 65536, BACKLOG = 4096 };

static const char HEADER[] = "HTTP/1.1 200 OK\r\n"
                             "Content-Type: text/event-stream\r\n"
                             "Cache-Control: no-store, no-transform\r\n"
                             "\r\n";

/* Viewers in one array, so that the broadcast walks memory in order; slot_of finds a descriptor's place. */
static int *viewers, *slot_of;
static int viewer_count, descriptor_limit;

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
        fail("listen");
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void drop(int fd)
{
    int slot = slot_of[fd];

    if (slot >= 0) {
        viewers[slot] = viewers[--viewer_count];
        slot_of[viewers[slot]] = slot;
        slot_of[fd] = -1;
    }
    close(fd);
}

static void accept_all(int epoll, int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= descriptor_limit) {
            close(fd);
            continue;
        }
        slot_of[fd] = -1;
        /* A frame is one send: waiting for more to fill a segment would only add delay. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(epoll, fd);
    }
}

/* A request split over two packets would be answered early; on loopback it never is. */
static void read_viewer(int fd)
{
    char request[4096];
    ssize_t got = recv(fd, request, sizeof request, 0);

    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        drop(fd);
    } else if (got > 0 && slot_of[fd] < 0) {
        if (send(fd, HEADER, sizeof HEADER - 1, MSG_NOSIGNAL) != sizeof HEADER - 1) {
            drop(fd);
            return;
        }
        slot_of[fd] = viewer_count;
        viewers[viewer_count++] = fd;
    }
}

/* Reads the whole command before it starts: the publisher is one trusted local program. */
static void publish(int listener)
{
    static char frame[MAX_FRAME];
    char line[64], reply[96];
    struct timespec start, end;
    int closed = 0, sent = 0, length, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    size_t filled = 0;

    if (fd < 0)
        return;
    while (filled < sizeof line - 1 && read(fd, line + filled, 1) == 1 && line[filled] != '\n')
        filled++;
    line[filled] = 0;
    length = atoi(line);
    if (length <= 0 || length > MAX_FRAME || recv(fd, frame, length, MSG_WAITALL) != length) {
        close(fd);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (sent < viewer_count) {
        if (send(viewers[sent], frame, length, MSG_NOSIGNAL | MSG_DONTWAIT) == length) {
            sent++;
        } else { /* drop() moves the last viewer here, so the place is tried again */
            drop(viewers[sent]);
            closed++;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    length = snprintf(reply, sizeof reply, "%d %d %lld\n", sent, closed,
                      (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec);
    if (write(fd, reply, length) != length)
        fprintf(stderr, "floor: the publisher left before its answer\n");
    close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[BATCH];
    struct rlimit limit;
    int epoll, publishing, viewing;

    if (argc != 3) {
        fprintf(stderr, "usage: floor VIEWER_PORT PUBLISH_PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit))
        fail("getrlimit");
    descriptor_limit = (int)limit.rlim_cur;
    viewers = calloc(descriptor_limit, sizeof *viewers);
    slot_of = calloc(descriptor_limit, sizeof *slot_of);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!viewers || !slot_of || epoll < 0)
        fail("start");
    viewing = listen_on(atoi(argv[1]));
    publishing = listen_on(atoi(argv[2]));
    watch(epoll, viewing);
    watch(epoll, publishing);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);

        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;

            if (fd == viewing)
                accept_all(epoll, viewing);
            else if (fd == publishing)
                publish(publishing);
            else
                read_viewer(fd);
        }
    }
}
