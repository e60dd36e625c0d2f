#ifndef GROVE_HUB_INTERNAL_EDGE_TRIGGER_H_
#define GROVE_HUB_INTERNAL_EDGE_TRIGGER_H_

namespace grove::hub_internal {

// MakeEdgeTriggered()
//
// Makes an epoll set tell of `fd` once for each event, and not for as long as it is ready
// (EPOLLET of epoll_ctl(2)). libev, whose set it may be, knows levels only; what it has
// asked for, and the number by which it knows the descriptor, stay as they are: they are
// read from /proc (proc(5), fdinfo).
//
// Blocks: for a read of /proc.
// Threads: any; not while others change what the set has for `fd`.
// False, and nothing has changed, if `epoll_fd` is no epoll set in which `fd` is, or if
// that cannot be seen.
[[nodiscard]] bool MakeEdgeTriggered(int epoll_fd, int fd);

// LowestFreeDescriptor()
//
// The number which the next descriptor will have, unless another thread takes it. -1 if
// there is none.
int LowestFreeDescriptor();

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_EDGE_TRIGGER_H_
