/* Tokens of SMT-LIB text, read as a stream from a (gzipped) file or from memory. */
#ifndef EP_VERIFIER_VNNLIB_LEX_H
#define EP_VERIFIER_VNNLIB_LEX_H

#include "kernels/sha256.h"
#include "kernels/status.h"

#define EP_LEX_MAX_TOKEN 4096u

typedef enum ep_token { EP_TOK_OPEN, EP_TOK_CLOSE, EP_TOK_ATOM, EP_TOK_END } ep_token;

typedef struct ep_lex {
  ep_ctx *ctx;
  const char *name;
  void *gz; /* gzFile, NULL when reading memory */
  uint8_t *buf;
  const uint8_t *at, *end;
  uint32_t line, col;         /* of the next character */
  uint32_t tok_line, tok_col; /* of the current token */
  ep_token tok;
  bool has_lists;                  /* "[", "]" and "," are atoms of their own (VNN-LIB 2) */
  char text[EP_LEX_MAX_TOKEN + 1]; /* of an atom */
  ep_sha256 sha;
} ep_lex;

ep_status ep_lex_open_file(ep_lex *l, ep_ctx *ctx, const char *path);
ep_status ep_lex_open_bytes(ep_lex *l, ep_ctx *ctx, const char *name, const void *data, size_t n);
void ep_lex_close(ep_lex *l);
/* Advances to the next token. Comments (; to end of line) are skipped. */
ep_status ep_lex_next(ep_lex *l);
/* "file:line:col: text" at the current token. */
ep_status ep_lex_fail(ep_lex *l, ep_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
