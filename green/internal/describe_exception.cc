#include "grove/green/internal/describe_exception.h"

#include <cxxabi.h>
#include <stdlib.h>

#include <memory>
#include <typeinfo>

#include "grove/green/interrupt.h"

namespace grove::green_internal {

std::string Demangle(const char* mangled) {
  int status = 0;
  std::unique_ptr<char, decltype(&free)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &free);
  return status == 0 ? name.get() : mangled;
}

std::string DescribeException(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return Demangle(typeid(e).name()) + ": " + e.what();
  } catch (const Interrupt& e) {
    return Demangle(typeid(e).name()) + ": " + e.ToString();
  } catch (...) {
    return Demangle(abi::__cxa_current_exception_type()->name());
  }
}

}  // namespace grove::green_internal
