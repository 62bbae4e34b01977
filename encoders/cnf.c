#include "encoders/cnf.h"

#include <assert.h>
#include <string.h>

/* Clauses per cardinality up to which full propagation is paid for. */
enum { FULL_LIMIT = 20000 };

typedef struct builder {
  ep_cnf *f;
  ep_status st; /* first failure: clauses after it are dropped */
} builder;

static void put(builder *b, int32_t lit) {
  ep_cnf *f = b->f;
  if (b->st != EP_OK) return;
  if (f->n_lit == f->cap) {
    size_t want = f->cap ? 2 * f->cap : 1024;
    int32_t *t = ep_realloc(f->ctx, f->lit, want * sizeof *t);
    if (!t) {
      b->st = EP_E_NOMEM;
      return;
    }
    f->lit = t;
    f->cap = want;
  }
  f->lit[f->n_lit++] = lit;
  f->n_clause += lit == 0;
}

static void clause(builder *b, int n, const int32_t *lit) {
  for (int i = 0; i < n; i++) put(b, lit[i]);
  put(b, 0);
}
#define CLAUSE(b, ...) clause(b, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

static int32_t fresh(builder *b) {
  if (b->f->n_var >= (1u << 30) && b->st == EP_OK)
    b->st = EP_FAIL(b->f->ctx, EP_E_LIMIT, "the clauses need more than 2^30 variables");
  return (int32_t)++b->f->n_var;
}

/* ---- sequential counter ---- */

/* count[k-1] <-> at least k of the literals so far, for k = 1..K. */
static void counter(builder *b, uint32_t n, const int32_t *x, uint32_t K, int32_t head, int32_t *count) {
  uint32_t have = 0; /* counts that are defined */
  for (uint32_t j = 0; j < n; j++) {
    for (uint32_t k = have < K ? have + 1 : K; k >= 1; k--) {
      int32_t was = k <= have ? count[k - 1] : 0, below = k >= 2 ? count[k - 2] : 0;
      int32_t now = j + 1 == n && k == K ? head : fresh(b);
      /* now <-> was or (x and below); an absent `was` is false, an absent `below` true. */
      if (was) CLAUSE(b, -was, now);
      if (below)
        CLAUSE(b, -x[j], -below, now);
      else
        CLAUSE(b, -x[j], now);
      if (was) {
        CLAUSE(b, -now, was, x[j]);
        if (below) CLAUSE(b, -now, was, below);
      } else {
        CLAUSE(b, -now, x[j]);
        if (below) CLAUSE(b, -now, below);
      }
      count[k - 1] = now;
      if (j + 1 == n && k == K) return; /* only the last count is asked for */
    }
    if (have < K) have++;
  }
}

static uint64_t counter_size(uint64_t n, uint64_t k) { return 4 * n * k; }

/* ---- totalizer ---- */

/* out[i] <-> at least i+1 of the literals, i < min(n, K); returns how many were made. */
static uint32_t totalizer(builder *b, uint32_t n, const int32_t *x, uint32_t K, int32_t *out, int32_t *pool) {
  if (n == 1) {
    out[0] = x[0];
    return 1;
  }
  uint32_t half = n / 2;
  int32_t *left = pool, *right = pool + half;
  uint32_t n_l = totalizer(b, half, x, K, left, pool + n), n_r = totalizer(b, n - half, x + half, K, right, pool + n);
  uint32_t n_out = n < K ? n : K;
  for (uint32_t i = 0; i < n_out; i++) out[i] = fresh(b);
  for (uint32_t i = 0; i <= n_l; i++)
    for (uint32_t j = 0; j <= n_r; j++) {
      /* i on the left and j on the right make i+j. */
      uint32_t sum = i + j < n_out ? i + j : n_out;
      if (sum > 0 && i + j <= n_out) {
        if (i && j)
          CLAUSE(b, -left[i - 1], -right[j - 1], out[sum - 1]);
        else if (i)
          CLAUSE(b, -left[i - 1], out[sum - 1]);
        else
          CLAUSE(b, -right[j - 1], out[sum - 1]);
      }
      /* No more than i on the left and j on the right: not i+j+1. A side that was cut at K has no "no more than K". */
      bool l_ends = i == n_l, r_ends = j == n_r;
      if (i + j >= n_out || (l_ends && n_l < half) || (r_ends && n_r < n - half)) continue;
      if (!l_ends && !r_ends)
        CLAUSE(b, left[i], right[j], -out[i + j]);
      else if (!l_ends)
        CLAUSE(b, left[i], -out[i + j]);
      else if (!r_ends)
        CLAUSE(b, right[j], -out[i + j]);
      else
        assert(i + j == n);
    }
  return n_out;
}

static uint64_t totalizer_size(uint64_t n, uint64_t k) {
  if (n <= 1) return 0;
  uint64_t l = n / 2 < k ? n / 2 : k, r = n - n / 2 < k ? n - n / 2 : k;
  return totalizer_size(n / 2, k) + totalizer_size(n - n / 2, k) + 2 * (l + 1) * (r + 1);
}

/* ---- adder ---- */

/* s + 2c = x + y + z. */
static void full_adder(builder *b, int32_t x, int32_t y, int32_t z, int32_t *s, int32_t *c) {
  *s = fresh(b);
  *c = fresh(b);
  CLAUSE(b, x, y, z, -*s);
  CLAUSE(b, x, -y, -z, -*s);
  CLAUSE(b, -x, y, -z, -*s);
  CLAUSE(b, -x, -y, z, -*s);
  CLAUSE(b, -x, -y, -z, *s);
  CLAUSE(b, -x, y, z, *s);
  CLAUSE(b, x, -y, z, *s);
  CLAUSE(b, x, y, -z, *s);
  CLAUSE(b, -x, -y, *c);
  CLAUSE(b, -x, -z, *c);
  CLAUSE(b, -y, -z, *c);
  CLAUSE(b, x, y, -*c);
  CLAUSE(b, x, z, -*c);
  CLAUSE(b, y, z, -*c);
}

static void half_adder(builder *b, int32_t x, int32_t y, int32_t *s, int32_t *c) {
  *s = fresh(b);
  *c = fresh(b);
  CLAUSE(b, x, y, -*s);
  CLAUSE(b, -x, -y, -*s);
  CLAUSE(b, -x, y, *s);
  CLAUSE(b, x, -y, *s);
  CLAUSE(b, -x, -y, *c);
  CLAUSE(b, x, -*c);
  CLAUSE(b, y, -*c);
}

/* head <-> the number with binary digits bit[0..n_bit) (lowest first) is at least k. Digit by digit from below:
 * ge <-> digit > k's digit, or equal and the lower part is at least k's. */
static void at_least(builder *b, uint32_t n_bit, const int32_t *bit, uint32_t k, int32_t head) {
  int32_t ge = 0; /* 0 = true: the empty number reaches 0 */
  for (uint32_t i = 0; i < n_bit; i++) {
    bool is_one = k >> i & 1;
    if (!ge && !is_one) continue; /* any digit does */
    if (!ge) {                    /* the digit itself */
      ge = bit[i];
      continue;
    }
    int32_t next = fresh(b);
    if (is_one) { /* next <-> digit and ge */
      CLAUSE(b, -next, bit[i]);
      CLAUSE(b, -next, ge);
      CLAUSE(b, next, -bit[i], -ge);
    } else { /* next <-> digit or ge */
      CLAUSE(b, next, -bit[i]);
      CLAUSE(b, next, -ge);
      CLAUSE(b, -next, bit[i], ge);
    }
    ge = next;
  }
  assert(ge && k >> n_bit == 0);
  CLAUSE(b, -head, ge);
  CLAUSE(b, head, -ge);
}

/* Columns of equal weight are added three at a time (a queue each) until one digit is left of each. */
static void adder(builder *b, uint32_t n, const int32_t *x, uint32_t k, int32_t head, int32_t *pool) {
  int32_t *now = pool, *carry = pool + 2 * (size_t)n + 2, bit[40];
  uint32_t n_now = n, n_bit = 0;
  memcpy(now, x, n * sizeof *now);
  while (n_now) {
    uint32_t first = 0, n_carry = 0, end = n_now;
    while (end - first >= 2) {
      int32_t s, c;
      if (end - first >= 3) {
        full_adder(b, now[first], now[first + 1], now[first + 2], &s, &c);
        first += 3;
      } else {
        half_adder(b, now[first], now[first + 1], &s, &c);
        first += 2;
      }
      now[end++] = s;
      carry[n_carry++] = c;
    }
    assert(n_bit < 40 && end <= 2 * n + 2);
    bit[n_bit++] = now[first];
    memcpy(now, carry, n_carry * sizeof *now);
    n_now = n_carry;
  }
  at_least(b, n_bit, bit, k, head);
}

/* ---- cardinalities ---- */

static ep_card_encoding choose(uint32_t n, uint32_t k) {
  uint64_t c = counter_size(n, k), t = totalizer_size(n, k);
  if (c > FULL_LIMIT && t > FULL_LIMIT) return EP_CARD_ADDER;
  return c <= t ? EP_CARD_COUNTER : EP_CARD_TOTALIZER;
}

/* head <-> at least k of x[0..n), 1 <= k <= n. */
static void cardinality(builder *b, ep_card_encoding enc, uint32_t n, int32_t *x, uint32_t k, int32_t head,
                        int32_t *pool) {
  if (n - k + 1 < k) { /* at least k true <-> not (at least n-k+1 false) */
    for (uint32_t i = 0; i < n; i++) x[i] = -x[i];
    k = n - k + 1;
    head = -head;
  }
  if (enc == EP_CARD_AUTO) enc = choose(n, k);
  b->f->n_by[enc]++;
  if (enc == EP_CARD_COUNTER) {
    counter(b, n, x, k, head, pool);
  } else if (enc == EP_CARD_TOTALIZER) {
    int32_t *out = pool;
    uint32_t made = totalizer(b, n, x, k, out, pool + n);
    assert(made == k);
    (void)made;
    CLAUSE(b, -head, out[k - 1]);
    CLAUSE(b, head, -out[k - 1]);
  } else {
    adder(b, n, x, k, head, pool);
  }
}

static void convert(const ep_prob *p, ep_card_encoding enc, builder *b, int32_t *x, int32_t *pool) {
  for (uint32_t i = 0; i < p->n_clause; i++) {
    for (uint32_t k = 0; k < p->clause[i].n; k++) put(b, ep_cnf_literal(p->clause[i].lit[k]));
    put(b, 0);
  }
  for (uint32_t i = 0; i < p->n_card && b->st == EP_OK; i++) {
    const ep_prob_card *c = &p->card[i];
    for (uint32_t k = 0; k < c->n; k++) x[k] = ep_cnf_literal(c->lit[k]);
    int32_t head = c->head == EP_LIT_NO ? fresh(b) : ep_cnf_literal(c->head);
    if (c->head == EP_LIT_NO) CLAUSE(b, head);
    cardinality(b, enc, c->n, x, c->k, head, pool);
    if (i % 16 == 15 && ep_ctx_should_stop(p->ctx)) b->st = EP_E_STOPPED;
  }
}

ep_status ep_cnf_create(const ep_prob *p, ep_card_encoding encoding, ep_cnf **out) {
  *out = NULL;
  uint32_t longest = 1;
  for (uint32_t i = 0; i < p->n_card; i++) longest = p->card[i].n > longest ? p->card[i].n : longest;
  ep_cnf *f = ep_calloc(p->ctx, 1, sizeof *f);
  int32_t *x = ep_calloc(p->ctx, longest + 1u, sizeof *x);
  /* The adder needs two queues of 2n, the totalizer n for its result and 2n log n at most along one path: 4n suffices,
   * as halves shrink. */
  int32_t *pool = ep_calloc(p->ctx, 6 * (size_t)longest + 16, sizeof *pool);
  builder b = {f, f && x && pool ? EP_OK : EP_E_NOMEM};
  if (b.st == EP_OK) {
    f->ctx = p->ctx;
    f->n_var = p->n_bool;
    convert(p, encoding, &b, x, pool);
  }
  ep_free(p->ctx, x);
  ep_free(p->ctx, pool);
  if (b.st != EP_OK) {
    if (f) f->ctx = p->ctx;
    ep_cnf_destroy(f);
  } else {
    *out = f;
  }
  return b.st;
}

void ep_cnf_destroy(ep_cnf *f) {
  if (!f) return;
  ep_free(f->ctx, f->lit);
  ep_free(f->ctx, f);
}

/* ---- files ---- */

static void comment_lines(FILE *out, const char *mark, const char *text) {
  while (*text) {
    size_t n = strcspn(text, "\n");
    fprintf(out, "%s%.*s\n", mark, (int)n, text);
    text += n + (text[n] == '\n');
  }
}

static ep_status finish(ep_ctx *ctx, FILE *out) {
  return fflush(out) != 0 || ferror(out) ? EP_FAIL(ctx, EP_E_IO, "cannot write the encoding") : EP_OK;
}

ep_status ep_write_cnf(const ep_cnf *f, const char *comment, FILE *out) {
  comment_lines(out, "c ", comment);
  fprintf(out, "p cnf %u %llu\n", f->n_var, (unsigned long long)f->n_clause);
  for (size_t i = 0; i < f->n_lit; i++) fprintf(out, f->lit[i] ? "%d " : "%d\n", f->lit[i]);
  return finish(f->ctx, out);
}

static void opb_sum(FILE *out, uint32_t n, const ep_lit *lit, bool is_negated) {
  for (uint32_t k = 0; k < n; k++) {
    ep_lit l = is_negated ? ep_lit_not(lit[k]) : lit[k];
    fprintf(out, "+1 %sx%u ", l & 1 ? "~" : "", l / 2 + 1);
  }
}

ep_status ep_write_opb(const ep_prob *p, const char *comment, FILE *out) {
  uint64_t n = p->n_clause;
  for (uint32_t i = 0; i < p->n_card; i++) n += p->card[i].head == EP_LIT_NO ? 1 : 2;
  fprintf(out, "* #variable= %u #constraint= %llu\n", p->n_bool, (unsigned long long)n);
  comment_lines(out, "* ", comment);
  for (uint32_t i = 0; i < p->n_clause; i++) {
    opb_sum(out, p->clause[i].n, p->clause[i].lit, false);
    fputs(p->clause[i].n ? ">= 1 ;\n" : "+1 x1 >= 2 ;\n", out);
  }
  for (uint32_t i = 0; i < p->n_card; i++) {
    const ep_prob_card *c = &p->card[i];
    opb_sum(out, c->n, c->lit, false);
    if (c->head == EP_LIT_NO) {
      fprintf(out, ">= %u ;\n", c->k);
      continue;
    }
    /* head: sum >= k; not head: at least n-k+1 are false. */
    fprintf(out, "+%u %sx%u >= %u ;\n", c->k, c->head & 1 ? "" : "~", c->head / 2 + 1, c->k);
    opb_sum(out, c->n, c->lit, true);
    fprintf(out, "+%u %sx%u >= %u ;\n", c->n - c->k + 1, c->head & 1 ? "~" : "", c->head / 2 + 1, c->n - c->k + 1);
  }
  return finish(p->ctx, out);
}
