#ifndef GROVE_NET_HTTP_CGI_VARIABLES_H_
#define GROVE_NET_HTTP_CGI_VARIABLES_H_

#include <string>
#include <utility>
#include <vector>

#include "grove/net/http/request.h"

namespace grove::http {

// CgiVariables()
//
// A request as CGI says it (RFC 3875), by name: REQUEST_METHOD, PATH_INFO (decoded),
// QUERY_STRING, REQUEST_URI (as sent), SERVER_PROTOCOL, SERVER_NAME and SERVER_PORT (as
// asked for, so the client's word), REMOTE_ADDR, REMOTE_PORT, HTTPS ("on" by TLS),
// CONTENT_TYPE, CONTENT_LENGTH, and HTTP_... of each other field. For those who start
// other programs, or are used to gevent's environ.
//
// Fields of the same name are one, with commas between them ("; " for Cookie). Left out
// are names with an underscore in them, which would be taken for others with a hyphen,
// and Proxy, which programs would take for a setting of theirs. A path that cannot be
// decoded is empty.
//
//   SubprocessOptions options;
//   for (auto& [name, value] : CgiVariables(request)) options.extra_env[name] = value;
std::vector<std::pair<std::string, std::string>> CgiVariables(const Request& request);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CGI_VARIABLES_H_
