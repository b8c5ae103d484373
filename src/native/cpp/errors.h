// C++ exceptions as texts: nothing may unwind into Rust.
#pragma once
#include <cstring>
#include <exception>

// Run `work`; the message of what it throws, from malloc, or null.
template <class Work>
char* sb_caught(const Work& work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
