// The client library of Redis, from Debian's libhiredis-dev. Its pkg-config file carries a flag
// that SwiftPM refuses, hence no pkgConfig.
#include <hiredis/hiredis.h>
