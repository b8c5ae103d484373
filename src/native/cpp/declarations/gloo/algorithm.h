// Empty: ProcessGroupGloo.hpp includes it and uses nothing of it. See rendezvous/store.h.
#pragma once
