/* The children of a step cover their parents: every combination of phases of the neurons that are decided at once is
 * there exactly once, beside the parent's own decisions, ascending, and multipliers stay with their decisions. Seen to
 * fail when: one combination is missing, two are the same, an added decision takes a multiplier of the parent's. */
#include "tests/ep_test.h"

#include "tests/support/samples.h"
#include "verifier/expand.h"

static const net_opt shape = {.n_x = 3, .n_y = 1, .n_layer = 3, .width = 8, .activation = "Relu", .scale = 1};

/* A parent that decides `n_dec` neurons spread over the net, with multipliers that name them, and is to decide up to
 * four others, best first in no order. */
static ep_domain *parent(const fixture *f, uint32_t n_dec, uint32_t n_branch, ep_rng *r) {
  uint32_t n_u = f->root->net.n_u, n = 0;
  ep_domain *d = ep_domain_create(f->ctx, 1, n_u, n_dec);
  assert_non_null(d);
  assert_true(n_u >= 2 * n_dec + n_branch);
  memset(d->slope, 128, n_u);
  for (uint32_t k = 0; k < n_dec; k++) {
    d->dec[k] = 2 * (2 * k + 1) + (uint32_t)ep_rng_below(r, 2);
    d->beta[k] = 0.25f + (float)k;
  }
  while (n < n_branch) {
    uint32_t u = (uint32_t)ep_rng_below(r, n_u);
    bool is_known = u < 2 * n_dec && u % 2;
    for (uint32_t k = 0; k < n; k++) is_known |= d->branch[k] == u;
    if (!is_known) d->branch[n++] = u;
  }
  d->n_branch = n;
  return d;
}

/* Checks a child of p; returns its combination of phases of p's neurons, bit k for branch[k]. */
static uint32_t combination(const ep_domain *p, const ep_domain *child, uint32_t n_way) {
  uint32_t phases = 0, n_old = 0, n_new = 0;
  assert_int_equal(child->n_dec, p->n_dec + n_way);
  for (uint32_t i = 0; i < child->n_dec; i++) {
    if (i) assert_true(child->dec[i] / 2 > child->dec[i - 1] / 2);
    if (n_old < p->n_dec && child->dec[i] == p->dec[n_old]) {
      assert_true(child->beta[i] == p->beta[n_old++]);
      continue;
    }
    for (uint32_t k = 0; k < n_way; k++) {
      if (p->branch[k] != child->dec[i] / 2) continue;
      phases |= (child->dec[i] & 1) << k;
      n_new++;
      assert_true(child->beta[i] == 0);
    }
  }
  assert_int_equal(n_old, p->n_dec);
  assert_int_equal(n_new, n_way);
  return phases;
}

static void check_step(const fixture *f, ep_rng *r, uint32_t n_way, uint32_t n_parent) {
  ep_scratch *s = ep_pool_scratch(f->pool);
  ep_scratch_mark m = ep_scratch_save(s);
  ep_tree t;
  ep_step e;
  ep_domain *p[8];
  size_t at = 0;
  assert_int_equal(ep_tree_init_polytope(&t, f->root, 0, s), EP_OK);
  t.root = NULL; /* every child is kept */
  t.rule = ep_branching_find("babsr");
  t.ascent = ep_ascent_default();
  t.ascent.iterations = 0; /* and multipliers stay as they come */
  assert_int_equal(ep_step_init(&e, &t, s), EP_OK);
  e.n_way = n_way;
  for (uint32_t i = 0; i < n_parent; i++) e.parent[e.n_parent++] = p[i] = parent(f, i % 4, i % 3 ? n_way : 4, r);
  assert_int_equal(ep_step_run(&e, s), EP_OK);
  assert_int_equal(e.n_child, n_parent << n_way);
  for (uint32_t i = 0; i < n_parent; i++) {
    uint32_t seen = 0;
    for (uint32_t c = 0; c < 1u << n_way; c++) seen |= 1u << combination(p[i], e.child[at++], n_way);
    assert_int_equal(seen, (1ull << (1u << n_way)) - 1);
  }
  for (size_t i = 0; i < e.n_child; i++) {
    assert_true(e.child[i]->n_branch > 0);
    ep_free(f->ctx, e.child[i]);
  }
  for (uint32_t i = 0; i < n_parent; i++) ep_free(f->ctx, p[i]);
  ep_scratch_restore(s, m);
}

static void children_cover_their_parents(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    fixture f;
    ep_rng r;
    ep_rng_seed(&r, seed);
    open_box(&f, &shape, seed, 1.5, 1e6, 1); /* no bound gets there */
    for (uint32_t n_way = 1; n_way <= EP_MAX_WAYS && f.root->net.n_u >= 10; n_way++)
      for (uint32_t n = 1; n <= 8; n += 3) check_step(&f, &r, n_way, n);
    close_box(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(children_cover_their_parents)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
