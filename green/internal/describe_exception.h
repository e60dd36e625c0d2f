#ifndef GROVE_GREEN_INTERNAL_DESCRIBE_EXCEPTION_H_
#define GROVE_GREEN_INTERNAL_DESCRIBE_EXCEPTION_H_

#include <exception>
#include <string>

namespace grove::green_internal {

// "std::runtime_error: no such thing", for messages to people.
std::string DescribeException(const std::exception_ptr& error);

// "std::runtime_error", of the name that a std::type_info has.
std::string Demangle(const char* mangled);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_DESCRIBE_EXCEPTION_H_
