#ifndef GROVE_NET_HTTP_HANDLER_H_
#define GROVE_NET_HTTP_HANDLER_H_

#include <functional>

#include "grove/net/http/request.h"
#include "grove/net/http/response.h"

namespace grove::http {

// Handler
//
// Answers one request. It may block, for other connections go on meanwhile; an exception
// that leaves it is reported, and answered with 500 if nothing was sent yet, else the
// connection is cut.
using Handler = std::function<void(Request&, ResponseWriter&)>;

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_HANDLER_H_
