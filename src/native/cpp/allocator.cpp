extern "C" void segbundle_allocator_placeholder() {}
