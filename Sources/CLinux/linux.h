// What Glibc's own module leaves out. `_GNU_SOURCE` stays undefined: with it some calls take a
// transparent union that Swift cannot pass.
#pragma once
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

/// Names the calling thread (15 characters count). prctl is variadic, which Swift does not import.
static inline int clinux_set_thread_name(const char *name) {
    return prctl(PR_SET_NAME, name, 0, 0, 0);
}
