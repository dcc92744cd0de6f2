// The client library of Postgres, from Debian's libpq-dev.
#include <postgresql/libpq-fe.h>
