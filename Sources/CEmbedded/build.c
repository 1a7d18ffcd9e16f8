#include "embedded.h"

// What Scripts/stamp left beside the sources, if it ran.
#pragma clang diagnostic ignored "-Wc23-extensions"

const char *bw_build_commit(void) {
    static const char text[] = {
#if __has_embed("../../.build-info/commit") == 1
#embed "../../.build-info/commit"
        , 0
#else
        "unknown"
#endif
    };
    return text;
}

const char *bw_build_swift(void) {
    static const char text[] = {
#if __has_embed("../../.build-info/swift") == 1
#embed "../../.build-info/swift"
        , 0
#else
        "unknown"
#endif
    };
    return text;
}
