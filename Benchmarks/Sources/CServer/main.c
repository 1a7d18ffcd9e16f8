// The limit: what one thread with epoll can answer when it does next to nothing. Fixed answers, heads
// taken on trust, one read and one send a request. `CServer PORT GET-BODY POST-BODY`.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_EVENTS = 256, MAX_REQUEST = 4096 };

static char answers[2][1024];
static size_t lengths[2];

// Date changes once a second, as in the others.
static void refresh(char *bodies[2]) {
    static time_t second;
    time_t now = time(NULL);
    if (now == second) return;
    second = now;
    char date[64];
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    for (int i = 0; i < 2; i++)
        lengths[i] = snprintf(answers[i], sizeof answers[i],
                              "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/json\r\n"
                              "Content-Length: %zu\r\n\r\n%s",
                              date, strlen(bodies[i]), bodies[i]);
}

// Octets of the request that begins at `text`, or 0 if more must come.
static size_t request_length(char *text) {
    char *end = strstr(text, "\r\n\r\n");
    if (!end) return 0;
    char *field = strcasestr(text, "\r\ncontent-length:");
    size_t body = field && field < end ? strtoul(field + 17, NULL, 10) : 0;
    size_t length = end + 4 - text + body;
    return strlen(text) >= length ? length : 0;
}

// False when the connection is at its end. A request cut in two is given up: wrk sends none.
static int serve(int fd) {
    char input[MAX_REQUEST + 1];
    ssize_t count = read(fd, input, MAX_REQUEST);
    if (count <= 0) return 0;
    input[count] = 0;
    size_t length = request_length(input);
    if (!length || length != (size_t)count) return 0;
    int which = input[0] == 'P';
    return send(fd, answers[which], lengths[which], MSG_NOSIGNAL) == (ssize_t)lengths[which];
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: CServer PORT GET-BODY POST-BODY\n"), 64;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(atoi(argv[1])),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return perror("bind"), 1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[MAX_EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    while (1) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        refresh(argv + 2);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (!serve(fd)) close(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
