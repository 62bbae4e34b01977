/* Cardinality encodings: for every assignment of up to 7 literals, the head is forced to the right value, by each of
 * the three; larger ones on random assignments; proofs pass an independent RUP checker, damaged ones do not. Seen to
 * fail when: the totalizer loses a clause of either direction, the comparator reads a digit wrongly, the counter stops
 * one short, the complement is not taken. */
#include "tests/ep_test.h"

#include "encoders/backend.h"
#include "encoders/cnf.h"
#include "kernels/rng.h"
#include "tests/support/rup.h"

static const ep_backend *picosat(void) {
  const ep_backend *be;
  ep_ctx *ctx = ep_ctx_create();
  ep_status st = ep_backend_find(ctx, "picosat", &be);
  ep_ctx_destroy(ctx);
  return st == EP_OK ? be : NULL;
}

typedef struct fixture {
  ep_ctx *ctx;
  ep_prob *p;
  ep_cnf *cnf;
  ep_solver *s;
  ep_lit lit[400], head;
} fixture;

/* head <-> at least k of n variables, every third literal negated. */
static void open_card(fixture *f, const ep_backend *be, uint32_t n, uint32_t k, ep_card_encoding enc) {
  f->ctx = ep_ctx_create();
  assert_int_equal(ep_prob_create(f->ctx, &f->p), EP_OK);
  for (uint32_t i = 0; i < n; i++) f->lit[i] = EP_LIT(ep_prob_bool(f->p), i % 3 == 2);
  f->head = EP_LIT(ep_prob_bool(f->p), n % 2);
  assert_int_equal(ep_prob_card_add(f->p, f->head, n, f->lit, k), EP_OK);
  assert_int_equal(ep_cnf_create(f->p, enc, &f->cnf), EP_OK);
  assert_int_equal(be->create_proving(f->ctx, f->p, f->cnf, NULL, &f->s), EP_OK);
}

static void close_card(fixture *f, const ep_backend *be) {
  be->destroy(f->s);
  ep_cnf_destroy(f->cnf);
  ep_prob_destroy(f->p);
  assert_int_equal(ep_ctx_memory_used(f->ctx), 0);
  ep_ctx_destroy(f->ctx);
}

/* With the literals given, does the head have to be `count >= k`? */
static void check_assignment(fixture *f, const ep_backend *be, uint32_t n, uint32_t k, const bool *is_true) {
  ep_lit assumed[401], failed[401];
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; i++) {
    assumed[i] = is_true[i] ? f->lit[i] : ep_lit_not(f->lit[i]);
    count += is_true[i];
  }
  for (int side = 0; side < 2; side++) {
    ep_answer_kind kind;
    ep_assume a = {.n = n + 1, .lit = assumed, .failed = failed};
    assumed[n] = side ? f->head : ep_lit_not(f->head);
    assert_int_equal(be->check(f->s, &a, &kind), EP_OK);
    assert_int_equal(kind == EP_ANSWER_SAT, (count >= k) == (side == 1));
    if (kind == EP_ANSWER_SAT) {
      assert_true(be->bool_value(f->s, f->head / 2) == !(assumed[n] & 1));
      continue;
    }
    bool has_head = false;
    for (uint32_t i = 0; i < a.n_failed; i++) has_head |= failed[i] == assumed[n];
    assert_true(has_head); /* without it there is no conflict */
  }
}

static void every_assignment_of_small_ones(void **state) {
  (void)state;
  const ep_backend *be = picosat();
  if (!be) skip();
  for (ep_card_encoding enc = EP_CARD_AUTO; enc <= EP_CARD_ADDER; enc++)
    for (uint32_t n = 1; n <= 7; n++)
      for (uint32_t k = 1; k <= n; k++) {
        fixture f;
        open_card(&f, be, n, k, enc);
        for (uint32_t m = 0; m < 1u << n; m++) {
          bool is_true[7];
          for (uint32_t i = 0; i < n; i++) is_true[i] = m >> i & 1;
          check_assignment(&f, be, n, k, is_true);
        }
        close_card(&f, be);
      }
}

static void larger_ones_around_the_threshold(void **state) {
  (void)state;
  const ep_backend *be = picosat();
  if (!be) skip();
  static const uint32_t size[][2] = {{33, 16}, {64, 63}, {100, 7}, {200, 100}, {255, 128}, {256, 255}, {311, 170}};
  ep_rng r;
  ep_rng_seed(&r, 3);
  uint32_t used[4] = {0};
  for (size_t c = 0; c < sizeof size / sizeof *size; c++)
    for (ep_card_encoding enc = EP_CARD_AUTO; enc <= EP_CARD_ADDER; enc++) {
      uint32_t n = size[c][0], k = size[c][1];
      fixture f;
      open_card(&f, be, n, k, enc);
      if (enc == EP_CARD_AUTO)
        for (int i = 0; i < 4; i++) used[i] += f.cnf->n_by[i];
      for (int delta = -1; delta <= 1; delta++) {
        bool is_true[400] = {false};
        uint32_t want = k + (uint32_t)delta > n ? n : k + (uint32_t)delta;
        for (uint32_t have = 0; have < want;) {
          uint64_t i = ep_rng_below(&r, n);
          have += !is_true[i];
          is_true[i] = true;
        }
        check_assignment(&f, be, n, k, is_true);
      }
      close_card(&f, be);
    }
  assert_true(used[EP_CARD_COUNTER] + used[EP_CARD_TOTALIZER] > 0 && used[EP_CARD_ADDER] > 0); /* chosen by size */
}

/* n+1 pigeons in n holes, holes by cardinality: unsatisfiable, and the proof says why. */
static void proofs_pass_an_independent_checker(void **state) {
  (void)state;
  const ep_backend *be = picosat();
  if (!be) skip();
  for (ep_card_encoding enc = EP_CARD_COUNTER; enc <= EP_CARD_ADDER; enc++) {
    enum { HOLES = 4 };
    ep_ctx *ctx = ep_ctx_create();
    ep_prob *p;
    ep_cnf *cnf;
    ep_solver *s;
    ep_answer_kind kind;
    ep_lit at[HOLES + 1][HOLES];
    FILE *proof = tmpfile();
    assert_non_null(proof);
    assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
    for (int i = 0; i <= HOLES; i++) {
      for (int h = 0; h < HOLES; h++) at[i][h] = EP_LIT(ep_prob_bool(p), false);
      assert_int_equal(ep_prob_clause_add(p, HOLES, at[i]), EP_OK);
    }
    for (int h = 0; h < HOLES; h++) {
      ep_lit empty[HOLES + 1];
      for (int i = 0; i <= HOLES; i++) empty[i] = ep_lit_not(at[i][h]);
      assert_int_equal(ep_prob_card_add(p, EP_LIT_NO, HOLES + 1, empty, HOLES), EP_OK);
    }
    assert_int_equal(ep_cnf_create(p, enc, &cnf), EP_OK);
    assert_int_equal(be->create_proving(ctx, p, cnf, proof, &s), EP_OK);
    assert_int_equal(be->check(s, NULL, &kind), EP_OK);
    assert_int_equal(kind, EP_ANSWER_UNSAT);
    be->destroy(s);
    rewind(proof);
    assert_true(rup_check(cnf->n_var, cnf->n_lit, cnf->lit, proof));
    rewind(proof); /* without its first clause (a pigeon that needs no hole) the same proof proves nothing */
    size_t first = 0;
    while (cnf->lit[first]) first++;
    assert_false(rup_check(cnf->n_var, cnf->n_lit - first - 1, cnf->lit + first + 1, proof));
    fclose(proof);
    ep_cnf_destroy(cnf);
    ep_prob_destroy(p);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
  }
}

/* The OPB file of one reified cardinality, read back: an assignment satisfies it exactly when the head is right. */
static void opb_files_mean_the_same(void **state) {
  (void)state;
  for (uint32_t n = 2; n <= 5; n++)
    for (uint32_t k = 1; k <= n; k++) {
      ep_ctx *ctx = ep_ctx_create();
      ep_prob *p;
      ep_lit lit[5];
      assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
      for (uint32_t i = 0; i < n; i++) lit[i] = EP_LIT(ep_prob_bool(p), i % 3 == 2);
      ep_lit head = EP_LIT(ep_prob_bool(p), n % 2);
      assert_int_equal(ep_prob_card_add(p, head, n, lit, k), EP_OK);
      assert_int_equal(ep_prob_clause_add(p, 2, (ep_lit[]){lit[0], head}), EP_OK);
      FILE *f = tmpfile();
      assert_int_equal(ep_write_opb(p, "a comment", f), EP_OK);
      for (uint32_t m = 0; m < 1u << (n + 1); m++) {
        char line[4096], *save = NULL;
        bool holds = true, head_true = (m >> n & 1) != (head & 1);
        uint32_t count = 0;
        rewind(f);
        while (fgets(line, sizeof line, f)) {
          long sum = 0, coef = 0;
          if (*line == '*') continue;
          for (char *w = strtok_r(line, " ;\n", &save); w; w = strtok_r(NULL, " ;\n", &save)) {
            if (strcmp(w, ">=") == 0)
              holds = holds && sum >= strtol(strtok_r(NULL, " ;\n", &save), NULL, 10);
            else if (*w == 'x' || *w == '~')
              sum += ((m >> (strtol(w + 1 + (*w == '~'), NULL, 10) - 1) & 1) != (*w == '~')) ? coef : 0;
            else
              coef = strtol(w, NULL, 10);
          }
        }
        for (uint32_t i = 0; i < n; i++) count += (m >> i & 1) != (lit[i] & 1);
        bool first = (m & 1) != (lit[0] & 1);
        assert_int_equal(holds, head_true == (count >= k) && (first || head_true));
      }
      fclose(f);
      ep_prob_destroy(p);
      ep_ctx_destroy(ctx);
    }
}

static void memory_and_stops_are_contained(void **state) {
  (void)state;
  const ep_backend *be = picosat();
  if (!be) skip();
  for (uint64_t k = 1; k < 1000000; k += 1 + k / 16) {
    ep_ctx *ctx = ep_ctx_create();
    ep_prob *p;
    ep_solver *s = NULL;
    ep_answer_kind kind;
    ep_lit x[40];
    assert_int_equal(ep_prob_create(ctx, &p), EP_OK);
    for (int i = 0; i < 40; i++) x[i] = EP_LIT(ep_prob_bool(p), false);
    assert_int_equal(ep_prob_card_add(p, EP_LIT_NO, 40, x, 20), EP_OK);
    ep_ctx_fail_allocation(ctx, k);
    ep_status st = be->create(ctx, p, &s);
    if (st == EP_OK) st = be->check(s, NULL, &kind);
    ep_ctx_fail_allocation(ctx, 0);
    assert_true(st == EP_OK || st == EP_E_NOMEM);
    if (s) be->destroy(s);
    ep_prob_destroy(p);
    assert_int_equal(ep_ctx_memory_used(ctx), 0);
    ep_ctx_destroy(ctx);
    if (st == EP_OK) return;
  }
  fail_msg("no number of allocations is enough");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_assignment_of_small_ones),     cmocka_unit_test(larger_ones_around_the_threshold),
      cmocka_unit_test(proofs_pass_an_independent_checker), cmocka_unit_test(opb_files_mean_the_same),
      cmocka_unit_test(memory_and_stops_are_contained),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
