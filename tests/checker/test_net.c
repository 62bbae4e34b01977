/* The checker's network reader against the verifier's: the same numbers at random points, operator by operator, with
 * views (Transpose, Slice) before and after everything; and what it cannot read is refused with one line. Seen to fail
 * when: the kernel of a transposed convolution is not mirrored, groups are ignored, a step or permutation is inverted,
 * the running mean keeps its sign, a view of a view starts from the value. */
#include "tests/ep_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/check.h"
#include "models/eval.h"
#include "models/onnx.h"
#include "tests/support/onnx_text.h"

static uint64_t state = 1;

static double draw(void) { /* in [0,1) */
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) * 0x1p-53;
}

/* {N} stands for N random numbers, {+N} for positive ones. */
static void expand(const char *text, char *out, size_t n) {
  size_t at = 0;
  for (const char *s = text; *s; s++) {
    if (*s != '{') {
      out[at++] = *s;
      continue;
    }
    bool is_positive = s[1] == '+';
    for (long k = strtol(s + 1 + is_positive, NULL, 10); k > 0; k--)
      at += (size_t)snprintf(out + at, n - at, "%.3f ", is_positive ? 0.1 + draw() : 4 * draw() - 2);
    s += strcspn(s, "}");
    if (at + 64 > n) fail_msg("no room for %s", text);
  }
  out[at] = 0;
}

/* At one random point. */
static void compare(const char *text, const ck_net *net, const ep_graph *g, ep_scratch *s) {
  long double *x[64] = {NULL};
  double in[512];
  ep_trace_f64 t;
  assert_true(net->n_val <= 64 && net->size[net->input] <= 512);
  assert_int_equal(net->size[net->input], g->val[g->input].n);
  assert_int_equal(net->size[net->output], g->val[g->output].n);
  for (uint32_t v = 0; v < net->n_val; v++) x[v] = calloc(net->size[v] + 1, sizeof **x);
  for (uint32_t i = 0; i < net->size[net->input]; i++) x[net->input][i] = (long double)(in[i] = 4 * draw() - 2);
  for (uint32_t k = 0; k < net->n_node; k++) {
    const ck_node *nd = &net->node[k];
    for (uint32_t i = 0; i < net->size[nd->out]; i++) {
      long double sum = nd->bias ? (long double)nd->bias[i] : 0, z = nd->is_relu ? x[nd->in[0]][i] : 0;
      for (uint32_t j = 0; j < nd->n_in && !nd->is_relu; j++) {
        assert_int_equal(nd->map[j].n_row, net->size[nd->out]);
        for (uint32_t c = nd->map[j].first[i]; c < nd->map[j].first[i + 1]; c++)
          for (uint32_t e = 0; e < nd->map[j].seg[c].len; e++)
            sum += (long double)nd->map[j].seg[c].w[e] * x[nd->in[j]][nd->map[j].seg[c].col + e];
      }
      x[nd->out][i] = nd->is_relu ? (z > 0 ? z : 0) : sum;
    }
  }
  assert_int_equal(ep_eval_f64(g, 1, in, s, &t), EP_OK);
  for (uint32_t i = 0; i < net->size[net->output]; i++) {
    double a = (double)x[net->output][i], b = t.v[g->output][i];
    if (!(fabs(a - b) <= 1e-10 * (1 + fabs(a))))
      fail_msg("output %u: %.17g, the verifier has %.17g\n%s", i, a, b, text);
  }
  for (uint32_t v = 0; v < net->n_val; v++) free(x[v]);
}

static void check_case(const char *text) {
  static char long_text[2048];
  static wire w;
  ck c = {.limit = (size_t)1 << 28};
  expand(text, long_text, sizeof long_text);
  onnx_text_encode(long_text, &w);
  if (setjmp(c.env)) fail_msg("%s\n%s", c.why, text);
  const ck_net *net = ck_read_net(&c, w.d, w.n);
  ep_ctx *ctx = ep_ctx_create();
  ep_graph *g;
  if (ep_onnx_read_bytes(ctx, "t", NULL, w.d, w.n, &g) != EP_OK) fail_msg("%s\n%s", ep_ctx_error(ctx).text, text);
  ep_scratch s;
  ep_scratch_init(&s, ctx);
  for (int k = 0; k < 3; k++) compare(text, net, g, &s);
  ep_scratch_clear(&s);
  ep_graph_destroy(g);
  ep_ctx_destroy(ctx);
  ck_clear(&c);
}

#define NET(shape) "opset 13; in x f " shape "; out y; "
static const char *const cases[] = {
    NET("1,3") "init w f raw 3,4 {12}; init b f raw 4 {4}; node Gemm x,w,b y",
    NET("1,3") "init w f raw 4,3 {12}; init b f raw 1 {1}; node Gemm x,w,b h n transB=1; node Relu h y",
    NET("3,2") "init w f raw 3,4 {12}; node Gemm x,w y n transA=1",
    NET("2,3") "init w f raw 3,2 {6}; node MatMul x,w y",
    NET("1,2,3") "init w f raw 3,2 {6}; node MatMul x,w y",
    NET("3,2") "init w f raw 4,3 {12}; node MatMul w,x h; node Relu h y",
    NET("3") "init w f raw 4,3 {12}; node MatMul w,x y",
    NET("2,3") "init c f raw 3 {3}; node Add x,c y",
    NET("2,3") "init c f raw 2,1 {2}; node Sub c,x y",
    NET("2,3") "node Relu x r; node Sub x,r y",
    NET("2,3") "node Add x,x y",
    NET("2,1") "init c f raw 2,3 {6}; node Add x,c y",
    NET("2,2") "node Transpose x t; node Sub x,t y",
    NET("2,3") "init c f raw 3 {3}; node Mul c,x y",
    NET("2,3") "init c f raw - {+1}; node Div x,c y",
    NET("2,3") "node Neg x h; node Relu h y",
    NET("1,2,5,6") "init w f raw 3,2,3,2 {36}; init b f raw 3 {3}; node Conv x,w,b y n strides=[2,1] pads=[1,0,2,1]",
    NET("1,4,5,5") "init w f raw 2,2,2,2 {16}; node Conv x,w h n group=2 dilations=[2,1]; node Relu h y",
    NET("1,2,7") "init w f raw 3,2,3 {18}; node Conv x,w y n strides=[2] pads=[1,1]",
    NET("1,2,3,4") "init w f raw 2,3,3,2 {36}; init b f raw 3 {3}; node ConvTranspose x,w,b y",
    NET("1,4,3,3") "init w f raw 4,2,3,3 {72}; node ConvTranspose x,w y n group=2 strides=[2,2] pads=[1,1,1,1]",
    NET("1,2,3,3") "init w f raw 2,1,3,3 {18}; node ConvTranspose x,w y n strides=[3,2] output_padding=[1,1]",
    NET("1,2,5") "init w f raw 2,3,3 {18}; node ConvTranspose x,w y n dilations=[2]",
    NET("1,3,2,2") "init s f raw 3 {3}; init b f raw 3 {3}; init m f raw 3 {3}; init v f raw 3 {+3}; "
                   "node BatchNormalization x,s,b,m,v y",
    NET("1,3") "init s f raw 3 {3}; init b f raw 3 {3}; init m f raw 3 {3}; init v f raw 3 {+3}; "
               "node BatchNormalization x,s,b,m,v y n epsilon=0.01",
    NET("2,3,4") "node Transpose x y",
    NET("2,3,4") "node Transpose x t n perm=[1,2,0]; node Relu t y",
    NET("4,5") "init a l raw 2 1 0; init b l raw 2 3 -1; node Slice x,a,b y",
    NET("4,5") "init a l raw 1 -1; init b l raw 1 -9; init k l raw 1 -1; init s l raw 1 -2; node Slice x,a,b,k,s y",
    NET("4,5") "init a l raw 2 3 0; init b l raw 2 -100 100; init k l raw 2 0 1; init s l raw 2 -1 2; "
               "node Slice x,a,b,k,s h; node Relu h y",
    NET("2,3,2") "init a l raw 1 1; init b l raw 1 3; init k l raw 1 1; node Transpose x t n perm=[2,1,0]; "
                 "node Slice t,a,b,k u; init s l raw 2 2 -1; node Reshape u,s v; init w f raw 4,3 {12}; node MatMul "
                 "v,w y",
    NET("1,4") "init a l raw 1 0; init b l raw 1 2; init c l raw 1 4; init k l raw 1 1; node Slice x,a,b,k p; "
               "node Slice x,b,c,k q; node Relu q r; node Concat r,p,x y n axis=1",
    NET("2,3") "node Neg x h; node Concat x,h y n axis=-2",
    NET("2,2,2") "node Relu x r; node Concat x,r,x h n axis=1; node Flatten h y n axis=2",
    NET("2,6") "init s l raw 3 0 -1 2; node Reshape x,s h; node Dropout h d; node Identity d i; node Transpose i y",
};

static void networks_are_the_verifiers(void **s) {
  (void)s;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int k = 0; k < 2; k++) check_case(cases[i]);
}

static const struct {
  const char *text, *says;
} bad[] = {
    {NET("1,2") "node Tanh x y", "network, operator 'Tanh' is not supported"},
    {NET("1,2") "node Relu@other x y", "Relu: foreign domain"},
    {NET("1,2") "node Relu z y", "Relu: 'z' is not defined before it is used"},
    {NET("1,2") "init w f raw 3,2 {6}; node MatMul x,w y", "MatMul: expected a variable and a 2-D constant that fit"},
    {NET("1,2") "init w f raw 2,2 {4}; node Gemm x,w y n alpha=0.5", "Gemm: alpha or beta is not 1"},
    {NET("1,2") "init w f raw 2,2 {3}; node MatMul x,w y", "tensor 'w': 3 elements, its shape says 4"},
    {NET("1,2") "init c f raw 3 {3}; node Add x,c y", "Add: unsupported broadcast"},
    {NET("1,2") "init c f raw 3 {3}; node Relu c y", "Relu: input 0 must not be constant"},
    {NET("1,2") "init c f raw 2 {2}; node Add c,c y", "Add: both inputs are constant"},
    {NET("1,2") "node Mul x,x y", "Mul: one input must be constant"},
    {NET("1,2") "init c f raw 2 0 1; node Div x,c y", "Div: divisor 0 is out of range"},
    {NET("2,2") "node Transpose x y n perm=[0,0]", "Transpose: bad permutation"},
    {NET("2,2") "node Transpose x y n perm=[0]", "Transpose: attribute perm is not 2 small numbers"},
    {NET("2,2") "node Concat x,x y n axis=2", "Concat: bad axis"},
    {NET("2,2") "init a l raw 1 0; init b l raw 1 0; node Slice x,a,b y", "a tensor is empty or too large"},
    {NET("2,2") "init a l raw 2 0 0; init b l raw 2 1 1; init k l raw 2 1 1; node Slice x,a,b,k y",
     "Slice: bad steps or axes"},
    {NET("1,2,3,3") "init w f raw 1,1,2,2 {4}; node Conv x,w y", "Conv: unsupported form or bad groups"},
    {NET("1,1,3,3") "init w f raw 1,1,4,4 {16}; node Conv x,w y", "Conv: a tensor is empty or too large"},
    {NET("1,1,3,3") "init w f raw 1,1,2,2 {4}; node Conv x,w y n strides=[0,1]", "Conv: bad strides or dilations"},
    {NET("1,2") "init s f raw 2 {2}; init v f raw 2 -1 1; node BatchNormalization x,s,s,s,v y",
     "weight is out of range"},
    {"opset 7; in x f 1,2; out y; node Relu x y", "opset 7 (8 to 20 are supported)"},
};

static void what_cannot_be_read_is_refused(void **unused) {
  (void)unused;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    static char text[2048];
    static wire w;
    ck c = {.limit = (size_t)1 << 28};
    expand(bad[i].text, text, sizeof text);
    onnx_text_encode(text, &w);
    if (!setjmp(c.env)) {
      ck_read_net(&c, w.d, w.n);
      fail_msg("accepted: %s", bad[i].text);
    }
    if (!c.is_bad_input || !strstr(c.why, bad[i].says)) fail_msg("'%s', expected '%s'", c.why, bad[i].says);
    ck_clear(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(networks_are_the_verifiers),
                                     cmocka_unit_test(what_cannot_be_read_is_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
