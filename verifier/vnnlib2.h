/* VNN-LIB 2.0 and 2.1: one network with one input and one output tensor of type real or float32, and assertions about
 * their elements. Hidden tensors, several tensors and several networks are refused by name. A float32 query means
 * float32 numbers: literals are rounded to the nearest one, operations in assertions round as well. */
#ifndef EP_VERIFIER_VNNLIB2_H
#define EP_VERIFIER_VNNLIB2_H

#include "verifier/query.h"
#include "verifier/vnnlib_expr.h"

/* What the declarations said; texts live in the parser's arena. */
typedef ep_query_declared ep_vnnlib2_header;

/* Versions and element types that are read, oldest and preferred first; NULL ends the list. */
extern const char *const ep_vnnlib2_versions[];
extern const char *const ep_vnnlib2_types[];

/* From "vnnlib-version" (the current token) to the end of the file: fills p's sizes and assertions. */
ep_status ep_vnnlib2_parse(ep_vnn_parser *p, ep_vnnlib2_header *header);
/* Copies what was declared into the finished query. */
ep_status ep_vnnlib2_attach(const ep_vnnlib2_header *header, ep_query *q);

#endif
