/* The JSON result. Documented in docs/json.md, which a test compares with the keys written here. */
#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "verifier/cli.h"
#include "verifier/inspect.h"
#include "verifier/json_out.h"

/* JSON has neither NaN nor infinity: both become null. */
static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }
static json_t *text(const char *s) { return s && *s ? json_string(s) : json_null(); }

static json_t *numbers(const double *v, uint32_t n) {
  json_t *a = json_array();
  for (uint32_t i = 0; i < n; i++) json_array_append_new(a, number(v[i]));
  return a;
}

static json_t *network(const ep_session *s) {
  const ep_graph *g = atomic_load(&s->graph);
  json_t *o = json_object();
  json_object_set_new(o, "path", text(s->network));
  json_object_set_new(o, "sha256", text(g ? g->sha256 : NULL));
  json_object_set_new(o, "inputs", g ? json_integer(g->val[g->input].n) : json_null());
  json_object_set_new(o, "outputs", g ? json_integer(g->val[g->output].n) : json_null());
  return o;
}

static json_t *property(const ep_session *s) {
  const ep_query *q = atomic_load(&s->query);
  ep_run *run = atomic_load(&s->run);
  json_t *o = json_object();
  json_object_set_new(o, "path", text(s->property));
  json_object_set_new(o, "description", s->property ? json_null() : text(q ? q->name : NULL));
  json_object_set_new(o, "sha256", text(q ? q->sha256 : NULL));
  json_object_set_new(o, "boxes", q ? json_integer(q->n_box) : json_null());
  json_object_set_new(o, "disjuncts", run ? json_integer(run->n_poly) : json_null());
  return o;
}

static json_t *witness(const ep_session *s, const ep_answer *a) {
  const ep_query *q = atomic_load(&s->query);
  if (!a->witness || !q) return json_null();
  json_t *o = json_object();
  json_object_set_new(o, "box", json_integer(a->witness->box));
  json_object_set_new(o, "disjunct", json_integer(a->witness->poly));
  json_object_set_new(o, "is_float32", json_boolean(a->witness->is_float32));
  json_object_set_new(o, "input", numbers(a->witness->x, q->n_x));
  json_object_set_new(o, "output", numbers(a->witness->y, q->n_y));
  return o;
}

static json_t *phases(const ep_answer *a) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < a->n_phase; i++) {
    const ep_phase *p = &a->phase[i];
    json_t *o = json_object();
    json_object_set_new(o, "name", text(p->name));
    json_object_set_new(o, "seconds", number(p->seconds));
    json_object_set_new(o, "domains", json_integer((json_int_t)p->domains));
    json_object_set_new(o, "proved", json_integer(p->proved));
    json_object_set_new(o, "worst_bound", number(p->worst_bound));
    json_array_append_new(list, o);
  }
  return list;
}

/* What the engine had last announced; only of interest when it was cut off. */
static json_t *progress(const ep_session *s, const ep_answer *a) {
  ep_run *run = atomic_load(&s->run);
  if (!a->is_partial || !run) return json_null();
  json_t *o = json_object();
  json_object_set_new(o, "phase", text(atomic_load(&run->progress.phase)));
  json_object_set_new(o, "domains", json_integer((json_int_t)atomic_load(&run->progress.domains)));
  json_object_set_new(o, "open", json_integer((json_int_t)atomic_load(&run->progress.open)));
  json_object_set_new(o, "worst_bound", number(atomic_load(&run->progress.worst_bound)));
  return o;
}

/* The options that the command takes, with their values in this run. */
static json_t *options(const ep_config *cfg, const char *command) {
  const ep_command *c = ep_command_find(command);
  json_t *o = json_object();
  for (size_t i = 0; c && i < ep_n_options; i++) {
    const ep_option *opt = &ep_options[i];
    if (!ep_option_lists(c->groups, " ", ep_option_group(opt)->id)) continue;
    const void *field = (const char *)cfg + opt->offset;
    if (opt->type == EP_OPTION_INT)
      json_object_set_new(o, opt->flag, json_integer(*(const int64_t *)field));
    else if (opt->type == EP_OPTION_REAL)
      json_object_set_new(o, opt->flag, number(*(const double *)field));
    else if (opt->type == EP_OPTION_FLAG)
      json_object_set_new(o, opt->flag, json_boolean(*(const bool *)field));
    else if (opt->type != EP_OPTION_GROUP)
      json_object_set_new(o, opt->flag, text(*(const char *const *)field));
  }
  return o;
}

/* Takes the document over. */
static ep_status dump(ep_ctx *ctx, json_t *o, FILE *out) {
  int failed = json_dumpf(o, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
  json_decref(o);
  if (failed || fputc('\n', out) == EOF) return EP_FAIL(ctx, EP_E_IO, "cannot write the JSON result");
  return EP_OK;
}

ep_status ep_json_out_answer(const ep_session *s, const ep_answer *a, FILE *out) {
  assert(a->verdict && s->cfg);
  bool is_error = strcmp(a->verdict, "error") == 0;
  json_t *o = json_object();
  json_object_set_new(o, "verdict", json_string(a->verdict));
  json_object_set_new(o, "reason", is_error ? json_null() : text(a->reason));
  json_object_set_new(o, "error", is_error ? text(a->reason) : json_null());
  json_object_set_new(o, "semantics", json_string(ep_report_semantics(s)));
  json_object_set_new(o, "command", json_string(s->command));
  json_object_set_new(o, "network", network(s));
  json_object_set_new(o, "property", property(s));
  json_object_set_new(o, "witness", witness(s, a));
  json_object_set_new(o, "certificate",
                      a->certificate_bytes ? json_pack("{s:s, s:I}", "path", s->cfg->certificate, "bytes",
                                                       (json_int_t)a->certificate_bytes)
                                           : json_null());
  json_object_set_new(o, "engine", json_string(s->cfg->engine));
  json_object_set_new(o, "decided_by", text(ep_report_decided_by(a)));
  json_object_set_new(o, "phases", phases(a));
  json_object_set_new(o, "progress", progress(s, a));
  json_object_set_new(o, "seconds", number(ep_time_s() - s->start_s));
  json_object_set_new(o, "engine_seconds", number(a->engine_s));
  json_object_set_new(o, "cpu_seconds", number(ep_report_cpu_s()));
  json_object_set_new(o, "certify_seconds", number(ep_ctx_certify_s(s->ctx)));
  json_object_set_new(o, "memory_peak_bytes", json_integer((json_int_t)ep_ctx_memory_peak(s->ctx)));
  json_object_set_new(o, "rss_peak_kib", json_integer(ep_report_peak_rss_kib()));
  json_object_set_new(o, "seed", json_integer(s->cfg->seed));
  json_object_set_new(o, "threads", json_integer(atomic_load(&s->threads)));
  json_object_set_new(o, "version", json_string(ep_cli_version()));
  json_object_set_new(o, "commit", json_string(ep_cli_commit()));
  json_object_set_new(o, "options", options(s->cfg, s->command));
  return dump(s->ctx, o, out);
}

static json_t *inspect_network(const ep_graph *g, const char *path) {
  ep_inspect_totals t = ep_inspect_count(g);
  json_t *nodes = json_array();
  for (uint32_t k = 0; k < g->n_node; k++) {
    const ep_node *n = &g->node[k];
    json_t *shape = json_array();
    for (uint32_t i = 0; i < n->out_shape.rank; i++) json_array_append_new(shape, json_integer(n->out_shape.dim[i]));
    json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:o, s:i, s:I}", "name", n->name, "operator", n->op->onnx,
                                           "class", ep_inspect_class(n->low.cls), "shape", shape, "neurons",
                                           (int)g->val[n->out].n, "parameters", (json_int_t)ep_inspect_parameters(n)));
  }
  return json_pack("{s:s, s:s, s:I, s:i, s:i, s:I, s:i, s:o}", "path", path, "sha256", g->sha256, "opset",
                   (json_int_t)g->opset, "inputs", (int)g->val[g->input].n, "outputs", (int)g->val[g->output].n,
                   "parameters", (json_int_t)t.parameters, "nonlinear_neurons", (int)(t.univar + t.general), "nodes",
                   nodes);
}

static json_t *inspect_property(const ep_query *q) {
  json_t *boxes = json_array();
  for (uint32_t b = 0; b < q->n_box; b++) {
    const ep_input_box *box = &q->box[b];
    json_array_append_new(boxes, json_pack("{s:i, s:i, s:b}", "disjuncts", (int)box->n_poly, "rows",
                                           (int)ep_inspect_rows(box), "is_empty", box->is_empty));
  }
  return json_pack("{s:s, s:s, s:i, s:i, s:b, s:o}", "path", q->name, "sha256", q->sha256, "inputs", (int)q->n_x,
                   "outputs", (int)q->n_y, "is_empty", q->is_empty, "boxes", boxes);
}

ep_status ep_json_out_inspect(const char *path, const ep_graph *g, const ep_query *q, FILE *out) {
  json_t *o = json_object();
  json_object_set_new(o, "network", inspect_network(g, path));
  json_object_set_new(o, "property", q ? inspect_property(q) : json_null());
  return dump(g->ctx, o, out);
}

/* 17 digits are within half an ulp of the double: one step outward keeps the printed number on the safe side. */
static json_t *bound_method(const ep_bound_result *r, uint32_t n_y) {
  json_t *lo = json_array(), *hi = json_array();
  for (uint32_t i = 0; i < n_y; i++) {
    json_array_append_new(lo, number(ep_dn(r->lo[i])));
    json_array_append_new(hi, number(ep_up(r->hi[i])));
  }
  return json_pack("{s:s, s:f, s:o, s:o, s:o}", "method", r->method, "seconds", r->seconds, "mean_width",
                   number(ep_bound_mean_width(r, n_y)), "lower", lo, "upper", hi);
}

ep_status ep_json_out_bound(const char *path, const ep_graph *g, const ep_query *q, size_t n,
                            const ep_bound_result *results, FILE *out) {
  json_t *boxes = json_array(), *methods = NULL;
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || results[i].box != results[i - 1].box) {
      methods = json_array();
      json_array_append_new(boxes, json_pack("{s:i, s:o}", "box", (int)results[i].box, "methods", methods));
    }
    json_array_append_new(methods, bound_method(&results[i], q->n_y));
  }
  return dump(g->ctx,
              json_pack("{s:s, s:s, s:s, s:s, s:o}", "network", path, "network_sha256", g->sha256, "property", q->name,
                        "property_sha256", q->sha256, "boxes", boxes),
              out);
}

static json_t *share(uint64_t k, uint64_t n) {
  double lo, hi;
  ep_evaluate_interval(k, n, 0.05, &lo, &hi);
  return json_pack("{s:I, s:o, s:f, s:f}", "count", (json_int_t)k, "share",
                   n ? json_real((double)k / (double)n) : json_null(), "low95", lo, "high95", hi);
}

static json_t *counts(const ep_eval_counts *c) {
  json_t *o = json_object();
  json_object_set_new(o, "samples", json_integer((json_int_t)c->n));
  json_object_set_new(o, "natural", share(c->natural, c->n));
  json_object_set_new(o, "attacked", share(c->attacked, c->n));
  json_object_set_new(o, "ibp", share(c->ibp, c->n));
  json_object_set_new(o, "crown", share(c->crown, c->n));
  json_object_set_new(o, "alpha_crown", share(c->alpha, c->n));
  json_object_set_new(o, "verified", share(c->verified, c->n));
  json_t *all = json_object();
  for (ep_eval_outcome k = EP_EVAL_WRONG; k < EP_N_EVAL_OUTCOME; k++)
    json_object_set_new(all, ep_evaluate_text(k), json_integer((json_int_t)c->outcome[k]));
  json_object_set_new(o, "outcomes", all);
  return o;
}

ep_status ep_json_out_eval(const char *path, const ep_graph *g, const ep_config *cfg, const ep_eval_counts *all,
                           uint32_t n_class, const ep_eval_counts *by_class, double seconds, FILE *out) {
  json_t *classes = json_array(), *o = json_object();
  for (uint32_t k = 0; k < n_class; k++) json_array_append_new(classes, counts(&by_class[k]));
  json_object_set_new(o, "network", text(path));
  json_object_set_new(o, "network_sha256", text(g->sha256));
  json_object_set_new(o, "data", text(cfg->data));
  json_object_set_new(o, "part", text(cfg->part));
  json_object_set_new(o, "epsilon", number(cfg->epsilon));
  json_object_set_new(o, "budget_seconds", number(cfg->timeout));
  json_object_set_new(o, "result", counts(all));
  json_object_set_new(o, "classes", classes);
  json_object_set_new(o, "seconds", number(seconds));
  return dump(g->ctx, o, out);
}
