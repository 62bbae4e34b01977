#include "benchmarks/differential/sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "encoders/prob.h"
#include "models/eval.h"
#include "models/onnx.h"

static float weight(ep_rng *r, bool is_integer) {
  return is_integer ? (float)ep_rng_below(r, 5) - 2 : (float)ep_rng_normal(r);
}

static void fill(ep_rng *r, layer *l, uint32_t n_w, uint32_t n_b, bool is_integer) {
  for (uint32_t i = 0; i < n_w; i++) l->w[i] = weight(r, is_integer);
  for (uint32_t i = 0; i < n_b; i++) l->b[i] = weight(r, is_integer);
}

static const char *const activations[] = {"Relu", "Relu", "Relu", "LeakyRelu", "Abs", "Clip", "Sign"};

static void add_dense(sample *s, ep_rng *r, uint32_t n_in, uint32_t n_out, bool is_integer) {
  layer *l = &s->layer[s->n_layer++];
  *l = (layer){.kind = DENSE, .n_in = n_in, .n_out = n_out};
  fill(r, l, n_in * n_out, n_out, is_integer);
}

static void add_activation(sample *s, ep_rng *r, uint32_t n, bool only_relu) {
  layer *l = &s->layer[s->n_layer++];
  const char *name = activations[only_relu ? 0 : ep_rng_below(r, sizeof activations / sizeof *activations)];
  *l = (layer){.kind = ACTIVATION, .n_in = n, .n_out = n, .activation = name};
  l->param = strcmp(name, "Clip") == 0 ? 1 : (float)(ep_rng_uniform(r) - 0.25);
}

/* x -> 1 or 2 channel image of 3x3 -> conv 2x2 -> 2x2 maps, activation, perhaps a pool. */
static uint32_t add_image(sample *s, ep_rng *r, bool is_integer, bool only_relu) {
  layer *l = &s->layer[s->n_layer++];
  uint32_t c_in = s->n_x / 9, c_out = 1 + (uint32_t)ep_rng_below(r, 3);
  *l = (layer){.kind = CONV, .n_in = s->n_x, .n_out = c_out * 4, .c_in = c_in, .c_out = c_out, .side = 3};
  fill(r, l, c_out * c_in * 4, c_out, is_integer);
  add_activation(s, r, c_out * 4, only_relu);
  if (ep_rng_below(r, 2)) return c_out * 4;
  s->layer[s->n_layer++] = (layer){.kind = MAX_POOL, .n_in = c_out * 4, .n_out = c_out, .c_in = c_out, .side = 2};
  return c_out;
}

/* A binarised network: one scaled and shifted Sign per input, layers of +-1 weights with thresholds between the
 * integers,
 * +-1 weights into the outputs. */
static void make_binarised(sample *s, ep_rng *r) {
  s->n_x = 1 + (uint32_t)ep_rng_below(r, 5);
  s->n_y = 1 + (uint32_t)ep_rng_below(r, 3);
  uint32_t n = s->n_x, hidden = 1 + (uint32_t)ep_rng_below(r, 2);
  layer *l = &s->layer[s->n_layer++];
  *l = (layer){.kind = DENSE, .n_in = n, .n_out = n};
  for (uint32_t i = 0; i < n; i++) {
    l->w[i * n + i] = weight(r, false);
    l->b[i] = weight(r, false) * 0.5f;
  }
  for (uint32_t k = 0; k <= hidden; k++) {
    s->layer[s->n_layer++] = (layer){.kind = ACTIVATION, .n_in = n, .n_out = n, .activation = "Sign"};
    uint32_t n_out = k == hidden ? s->n_y : 2 + (uint32_t)ep_rng_below(r, 5);
    l = &s->layer[s->n_layer++];
    *l = (layer){.kind = DENSE, .n_in = n, .n_out = n_out};
    for (uint32_t i = 0; i < n_out; i++) {
      float scale = k == hidden ? 1 : (float)(0.25 + ep_rng_uniform(r));
      for (uint32_t j = 0; j < n; j++) l->w[i * n + j] = ep_rng_below(r, 2) ? scale : -scale;
      l->b[i] = k == hidden ? weight(r, true) : scale * ((float)ep_rng_below(r, 3) - 1 + 0.3f);
    }
    n = n_out;
  }
}

static void make_layers(sample *s, ep_rng *r) {
  if (ep_rng_below(r, 8) == 0) {
    make_binarised(s, r);
    return;
  }
  bool is_integer = ep_rng_below(r, 4) == 0, only_relu = ep_rng_below(r, 2), is_image = ep_rng_below(r, 4) == 0;
  uint32_t hidden = 1 + (uint32_t)ep_rng_below(r, 3), n;
  s->n_x = is_image ? 9 : 1 + (uint32_t)ep_rng_below(r, 3);
  s->n_y = 1 + (uint32_t)ep_rng_below(r, 3);
  n = is_image ? add_image(s, r, is_integer, only_relu) : s->n_x;
  for (uint32_t k = 0; k < hidden && (!is_image || k < 1); k++) {
    uint32_t width = 2 + (uint32_t)ep_rng_below(r, 4), at = s->n_layer;
    if (ep_rng_below(r, 3) == 0) width = n;
    add_dense(s, r, n, width, is_integer);
    add_activation(s, r, width, only_relu);
    if (width == n && ep_rng_below(r, 2))
      s->layer[s->n_layer++] = (layer){.kind = SKIP, .n_in = n, .n_out = n, .from = at};
    n = width;
  }
  add_dense(s, r, n, s->n_y, is_integer);
}

/* Value of a row's left side at a random point of the box. */
static ep_status value_at(const ep_graph *g, const box *b, const row *w, uint32_t n_x, uint32_t n_y, ep_rng *r,
                          ep_scratch *mem, double *out) {
  ep_scratch_mark m = ep_scratch_save(mem);
  double x[MAX_WIDTH];
  ep_trace_f64 t;
  for (uint32_t i = 0; i < n_x; i++)
    x[i] = (double)b->lo[i] + ep_rng_uniform(r) * ((double)b->hi[i] - (double)b->lo[i]);
  EP_TRY(ep_eval_f64(g, 1, x, mem, &t));
  *out = 0;
  for (uint32_t k = 0; k < w->n; k++)
    *out += (double)w->coef[k] * (w->var[k] < n_y ? t.v[g->output][w->var[k]] : x[w->var[k] - n_y]);
  ep_scratch_restore(mem, m);
  return EP_OK;
}

/* Thresholds around the smallest of a few values: sometimes clearly reached or missed, often just so. */
static ep_status make_row(const ep_graph *g, const sample *s, const box *b, ep_rng *r, ep_scratch *mem, row *w) {
  w->n = 1 + (uint32_t)ep_rng_below(r, s->n_y > 1 ? MAX_TERMS : 2);
  for (uint32_t k = 0; k < w->n; k++) {
    w->var[k] = k < 2 ? (uint32_t)ep_rng_below(r, s->n_y) : s->n_y + (uint32_t)ep_rng_below(r, s->n_x);
    w->coef[k] = ep_rng_below(r, 2) ? 1.0f : -1.0f;
    if (k == 2) w->coef[k] = 0.25f;
  }
  w->is_strict = ep_rng_below(r, 2);
  double least = INFINITY, v;
  uint64_t n = 1 + ep_rng_below(r, 60);
  for (uint64_t i = 0; i < n; i++) {
    EP_TRY(value_at(g, b, w, s->n_x, s->n_y, r, mem, &v));
    least = fmin(least, v);
  }
  double spread = 1 + fabs(least);
  double shift = ep_rng_below(r, 3) == 0 ? 0.3 * ep_rng_normal(r) : -0.05 * ep_rng_uniform(r);
  w->rhs = (double)(float)(least + shift * spread);
  if (ep_rng_below(r, 4) == 0) w->rhs = rint(w->rhs);
  return EP_OK;
}

static ep_status make_boxes(ep_ctx *ctx, sample *s, ep_rng *r) {
  ep_graph *g;
  ep_scratch mem;
  EP_TRY(sample_graph(ctx, s, &g));
  ep_scratch_init(&mem, ctx);
  ep_status st = EP_OK;
  s->n_box = 1 + (ep_rng_below(r, 4) == 0);
  for (uint32_t k = 0; k < s->n_box; k++) {
    box *b = &s->box[k];
    double radius = ep_rng_below(r, 3) ? 0.5 : 0.1;
    for (uint32_t i = 0; i < s->n_x; i++) {
      b->lo[i] = (float)ep_rng_normal(r);
      b->hi[i] = b->lo[i] + (float)(radius * (ep_rng_below(r, 12) ? 1 : 0) * (0.5 + ep_rng_uniform(r)));
    }
    b->n = 1 + (ep_rng_below(r, 3) == 0);
    for (uint32_t p = 0; p < b->n && st == EP_OK; p++) {
      b->poly[p].n = 1 + (ep_rng_below(r, 3) == 0);
      for (uint32_t i = 0; i < b->poly[p].n && st == EP_OK; i++) st = make_row(g, s, b, r, &mem, &b->poly[p].row[i]);
    }
  }
  ep_scratch_clear(&mem);
  ep_graph_destroy(g);
  return st;
}

ep_status sample_make(ep_ctx *ctx, uint64_t seed, sample *s) {
  ep_rng r;
  ep_rng_seed(&r, seed);
  memset(s, 0, sizeof *s);
  make_layers(s, &r);
  return make_boxes(ctx, s, &r);
}

/* ---- as graph, query and files ---- */

static ep_status constant(ep_builder *b, const char *name, const float *v, uint32_t rank, const int64_t *dim) {
  double w[MAX_WEIGHTS];
  ep_tensor t = {EP_DT_F32, {.rank = rank}, 1, w, NULL};
  for (uint32_t i = 0; i < rank; i++) {
    t.shape.dim[i] = dim[i];
    t.n *= (size_t)dim[i];
  }
  for (size_t i = 0; i < t.n; i++) w[i] = (double)v[i];
  return ep_builder_constant(b, name, &t);
}

static ep_status reshape(ep_builder *b, const char *in, const char *out, uint32_t rank, const int64_t *dim) {
  char shape[24];
  snprintf(shape, sizeof shape, "s_%s", out);
  ep_tensor t = {EP_DT_I64, {1, {rank}}, rank, NULL, (int64_t *)(uintptr_t)dim};
  EP_TRY(ep_builder_constant(b, shape, &t));
  return ep_builder_node(b, "Reshape", out, 2, (const char *[]){in, shape}, out, &(ep_attrs){0});
}

static ep_status image_node(ep_builder *b, const layer *l, uint32_t k, const char *in, const char *out) {
  char w[16], c[16], img[16], map[16];
  snprintf(w, sizeof w, "w%u", k);
  snprintf(c, sizeof c, "c%u", k);
  snprintf(img, sizeof img, "i%u", k);
  snprintf(map, sizeof map, "m%u", k);
  EP_TRY(reshape(b, in, img, 4, (const int64_t[]){1, l->c_in, l->side, l->side}));
  const char *ins[3] = {img, w, c};
  ep_attr kernel = {.name = "kernel_shape", .type = EP_ATTR_INTS, .n = 2, .ints = (const int64_t[]){2, 2}};
  ep_attrs attrs = {1, &kernel};
  if (l->kind == CONV) {
    EP_TRY(constant(b, w, l->w, 4, (const int64_t[]){l->c_out, l->c_in, 2, 2}));
    EP_TRY(constant(b, c, l->b, 1, (const int64_t[]){l->c_out}));
  }
  EP_TRY(ep_builder_node(b, l->kind == CONV ? "Conv" : "MaxPool", map, l->kind == CONV ? 3 : 1, ins, map, &attrs));
  return reshape(b, map, out, 2, (const int64_t[]){1, l->n_out});
}

static ep_status activation_node(ep_builder *b, const layer *l, uint32_t k, const char *in, const char *out) {
  if (strcmp(l->activation, "Clip") == 0) {
    char lo[16], hi[16];
    snprintf(lo, sizeof lo, "lo%u", k);
    snprintf(hi, sizeof hi, "hi%u", k);
    EP_TRY(constant(b, lo, (const float[]){-l->param}, 0, NULL));
    EP_TRY(constant(b, hi, (const float[]){l->param}, 0, NULL));
    return ep_builder_node(b, "Clip", out, 3, (const char *[]){in, lo, hi}, out, &(ep_attrs){0});
  }
  ep_attr alpha = {.name = "alpha", .type = EP_ATTR_FLOAT, .f = (double)l->param};
  ep_attrs attrs = {strcmp(l->activation, "LeakyRelu") == 0, &alpha};
  return ep_builder_node(b, l->activation, out, 1, &in, out, &attrs);
}

static ep_status layer_node(ep_builder *b, const sample *s, uint32_t k, char names[][16]) {
  const layer *l = &s->layer[k];
  const char *in = names[k], *out = names[k + 1];
  if (l->kind == CONV || l->kind == MAX_POOL) return image_node(b, l, k, in, out);
  if (l->kind == ACTIVATION) return activation_node(b, l, k, in, out);
  if (l->kind == SKIP)
    return ep_builder_node(b, "Add", out, 2, (const char *[]){in, names[l->from]}, out, &(ep_attrs){0});
  char w[16], c[16];
  snprintf(w, sizeof w, "w%u", k);
  snprintf(c, sizeof c, "c%u", k);
  EP_TRY(constant(b, w, l->w, 2, (const int64_t[]){l->n_out, l->n_in}));
  EP_TRY(constant(b, c, l->b, 1, (const int64_t[]){l->n_out}));
  ep_attr trans = {.name = "transB", .type = EP_ATTR_INT, .i = 1};
  return ep_builder_node(b, "Gemm", out, 3, (const char *[]){in, w, c}, out, &(ep_attrs){1, &trans});
}

ep_status sample_graph(ep_ctx *ctx, const sample *s, ep_graph **out) {
  ep_builder *b;
  char names[MAX_LAYERS + 1][16];
  *out = NULL;
  EP_TRY(ep_builder_create(ctx, 13, &b));
  for (uint32_t k = 0; k <= s->n_layer; k++) snprintf(names[k], sizeof names[k], "v%u", k);
  ep_shape shape = {.rank = 2, .dim = {1, s->n_x}};
  ep_status st = ep_builder_input(b, names[0], EP_DT_F32, &shape);
  for (uint32_t k = 0; k < s->n_layer && st == EP_OK; k++) st = layer_node(b, s, k, names);
  if (st == EP_OK) st = ep_builder_finish(b, names[s->n_layer], out);
  ep_builder_destroy(b);
  return st;
}

static ep_status query_box(ep_query_builder *b, const sample *s, const box *x) {
  double lo[MAX_WIDTH], hi[MAX_WIDTH];
  for (uint32_t i = 0; i < s->n_x; i++) {
    lo[i] = (double)x->lo[i];
    hi[i] = (double)x->hi[i];
  }
  EP_TRY(ep_query_builder_box(b, lo, hi));
  for (uint32_t p = 0; p < x->n; p++) {
    EP_TRY(ep_query_builder_polytope(b));
    for (uint32_t i = 0; i < x->poly[p].n; i++) {
      const row *w = &x->poly[p].row[i];
      double coef[MAX_TERMS];
      for (uint32_t k = 0; k < w->n; k++) coef[k] = (double)w->coef[k];
      EP_TRY(ep_query_builder_row(b, w->n, w->var, coef, w->rhs, w->is_strict));
    }
  }
  return EP_OK;
}

ep_status sample_query(ep_ctx *ctx, const sample *s, ep_query **out) {
  ep_query_builder *b;
  *out = NULL;
  EP_TRY(ep_query_builder_create(ctx, s->n_x, s->n_y, &b));
  ep_status st = EP_OK;
  for (uint32_t k = 0; k < s->n_box && st == EP_OK; k++) st = query_box(b, s, &s->box[k]);
  if (st == EP_OK) st = ep_query_builder_finish(b, "sample", out);
  ep_query_builder_destroy(b);
  return st;
}

static void print_number(FILE *f, double x) {
  char text[EP_DECIMAL_MAX];
  ep_prob_decimal(x, text, sizeof text);
  fputs(text, f);
}

static void print_row(FILE *f, const sample *s, const row *w) {
  fprintf(f, " (%s (+", w->is_strict ? "<" : "<=");
  for (uint32_t k = 0; k < w->n; k++) {
    fputs(" (* ", f);
    print_number(f, (double)w->coef[k]);
    fprintf(f, " %c_%u)", w->var[k] < s->n_y ? 'Y' : 'X', w->var[k] < s->n_y ? w->var[k] : w->var[k] - s->n_y);
  }
  fputs(") ", f);
  print_number(f, w->rhs);
  fputc(')', f);
}

/* One disjunct per polytope of each box; boxes are repeated in them. */
static void print_property(FILE *f, const sample *s) {
  for (uint32_t i = 0; i < s->n_x; i++) fprintf(f, "(declare-const X_%u Real)\n", i);
  for (uint32_t i = 0; i < s->n_y; i++) fprintf(f, "(declare-const Y_%u Real)\n", i);
  fputs("(assert (or", f);
  for (uint32_t k = 0; k < s->n_box; k++)
    for (uint32_t p = 0; p < s->box[k].n; p++) {
      fputs("\n  (and", f);
      for (uint32_t i = 0; i < s->n_x; i++) {
        fprintf(f, " (>= X_%u ", i);
        print_number(f, (double)s->box[k].lo[i]);
        fprintf(f, ") (<= X_%u ", i);
        print_number(f, (double)s->box[k].hi[i]);
        fputc(')', f);
      }
      for (uint32_t i = 0; i < s->box[k].poly[p].n; i++) print_row(f, s, &s->box[k].poly[p].row[i]);
      fputc(')', f);
    }
  fputs("))\n", f);
}

ep_status sample_write(ep_ctx *ctx, const sample *s, const char *stem) {
  char path[1024];
  ep_graph *g;
  EP_TRY(sample_graph(ctx, s, &g));
  snprintf(path, sizeof path, "%s.onnx", stem);
  ep_status st = ep_onnx_write(g, path);
  ep_graph_destroy(g);
  if (st != EP_OK) return st;
  snprintf(path, sizeof path, "%s.vnnlib", stem);
  FILE *f = fopen(path, "w");
  if (!f) return EP_FAIL(ctx, EP_E_IO, "cannot write %s", path);
  print_property(f, s);
  return fclose(f) == 0 ? EP_OK : EP_FAIL(ctx, EP_E_IO, "cannot write %s", path);
}
