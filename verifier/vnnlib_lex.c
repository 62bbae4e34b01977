#include "verifier/vnnlib_lex.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { CHUNK = 1 << 16 };

ep_status ep_lex_open_file(ep_lex *l, ep_ctx *ctx, const char *path) {
  *l = (ep_lex){.ctx = ctx, .name = path, .line = 1, .col = 1};
  ep_sha256_init(&l->sha);
  FILE *probe = fopen(path, "rb"); /* zlib's own errors do not say why */
  if (!probe) return EP_FAIL(ctx, EP_E_IO, "%s: %s", path, strerror(errno));
  fclose(probe);
  l->gz = gzopen(path, "rb");
  if (!l->gz) return EP_FAIL(ctx, EP_E_IO, "%s: cannot open", path);
  gzbuffer(l->gz, CHUNK);
  l->buf = ep_alloc(ctx, CHUNK);
  return l->buf ? EP_OK : EP_E_NOMEM;
}

ep_status ep_lex_open_bytes(ep_lex *l, ep_ctx *ctx, const char *name, const void *data, size_t n) {
  *l = (ep_lex){.ctx = ctx, .name = name, .line = 1, .col = 1, .at = data, .end = (const uint8_t *)data + n};
  ep_sha256_init(&l->sha);
  ep_sha256_update(&l->sha, data, n);
  return EP_OK;
}

void ep_lex_close(ep_lex *l) {
  if (l->gz) gzclose(l->gz);
  ep_free(l->ctx, l->buf);
  l->gz = NULL;
  l->buf = NULL;
}

ep_status ep_lex_fail(ep_lex *l, ep_status code, const char *fmt, ...) {
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return EP_FAIL(l->ctx, code, "%s:%u:%u: %s", l->name, l->tok_line, l->tok_col, text);
}

/* Next byte, or -1 at the end; *st reports read errors. */
static int peek(ep_lex *l, ep_status *st) {
  if (l->at < l->end) return *l->at;
  if (!l->gz) return -1;
  if (ep_ctx_should_stop(l->ctx)) *st = EP_E_STOPPED; /* big files take seconds */
  if (*st != EP_OK) return -1;
  int n = gzread(l->gz, l->buf, CHUNK);
  if (n < 0) {
    int err, cause = errno;
    gzerror(l->gz, &err);
    *st = err == Z_ERRNO ? EP_FAIL(l->ctx, EP_E_IO, "%s: %s", l->name, strerror(cause))
                         : EP_FAIL(l->ctx, EP_E_SYNTAX, "%s: damaged or truncated gzip data", l->name);
  }
  if (n == 0) {
    int err;
    gzerror(l->gz, &err);
    if (err == Z_BUF_ERROR) *st = EP_FAIL(l->ctx, EP_E_SYNTAX, "%s: truncated gzip data", l->name);
  }
  if (n <= 0) return -1;
  ep_sha256_update(&l->sha, l->buf, (size_t)n);
  l->at = l->buf;
  l->end = l->buf + n;
  return *l->at;
}

static void take(ep_lex *l) {
  assert(l->at < l->end);
  if (*l->at++ == '\n') {
    l->line++;
    l->col = 1;
  } else {
    l->col++;
  }
}

static bool is_list(const ep_lex *l, int c) { return l->has_lists && (c == '[' || c == ']' || c == ','); }

static bool is_space(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v'; }

/* "..." or |...|, delimiters included: one token, whatever brackets it holds. */
static ep_status quoted(ep_lex *l, int quote) {
  ep_status st = EP_OK;
  size_t n = 0;
  int c = quote;
  do {
    if (n == EP_LEX_MAX_TOKEN) return ep_lex_fail(l, EP_E_SYNTAX, "token longer than %u characters", EP_LEX_MAX_TOKEN);
    l->text[n++] = c >= 32 && c <= 126 ? (char)c : '?'; /* error messages stay one line */
    take(l);
    c = peek(l, &st);
  } while (c >= 0 && c != quote);
  if (st != EP_OK) return st;
  if (c < 0) return ep_lex_fail(l, EP_E_SYNTAX, "expected closing %c, found end of file", quote);
  take(l);
  l->text[n] = 0;
  l->tok = EP_TOK_ATOM;
  return EP_OK;
}

ep_status ep_lex_next(ep_lex *l) {
  ep_status st = EP_OK;
  int c;
  while ((c = peek(l, &st)) >= 0 && (is_space(c) || c == ';')) {
    if (c == ';')
      while ((c = peek(l, &st)) >= 0 && c != '\n') take(l);
    else
      take(l);
  }
  if (st != EP_OK) return st;
  l->tok_line = l->line;
  l->tok_col = l->col;
  l->text[0] = 0;
  if (c < 0) {
    l->tok = EP_TOK_END;
    return EP_OK;
  }
  if (c == '(' || c == ')' || is_list(l, c)) {
    l->tok = c == '(' ? EP_TOK_OPEN : c == ')' ? EP_TOK_CLOSE : EP_TOK_ATOM;
    l->text[0] = (char)c;
    l->text[1] = 0;
    take(l);
    return EP_OK;
  }
  if (c == '"' || c == '|') return quoted(l, c);
  size_t n = 0;
  while ((c = peek(l, &st)) >= 0 && !is_space(c) && c != '(' && c != ')' && c != ';' && !is_list(l, c)) {
    if (c < 32 || c > 126) return ep_lex_fail(l, EP_E_SYNTAX, "byte 0x%02x is not text", (unsigned)c);
    if (n == EP_LEX_MAX_TOKEN) return ep_lex_fail(l, EP_E_SYNTAX, "token longer than %u characters", EP_LEX_MAX_TOKEN);
    l->text[n++] = (char)c;
    take(l);
  }
  l->text[n] = 0;
  l->tok = EP_TOK_ATOM;
  return st;
}
