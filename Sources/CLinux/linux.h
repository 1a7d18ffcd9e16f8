// What Glibc's own module leaves out. `_GNU_SOURCE` stays undefined: with it some calls take a
// transparent union that Swift cannot pass.
#pragma once
#include <sys/epoll.h>
#include <sys/eventfd.h>
