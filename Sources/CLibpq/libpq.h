#pragma once
#include <libpq-fe.h>

// Swift does not import macros whose value is a character.
static const int BW_DIAG_SQLSTATE = PG_DIAG_SQLSTATE;
static const int BW_DIAG_MESSAGE = PG_DIAG_MESSAGE_PRIMARY;
static const int BW_DIAG_CONSTRAINT = PG_DIAG_CONSTRAINT_NAME;
