# cmake -DSOURCE=<tree> -P layers.cmake: an include may only point down, and third-party headers stay in their files.
get_filename_component(SOURCE "${SOURCE}" ABSOLUTE)
set(layers kernels models bounds encoders verifier checker)
set(third_party
  "cblas.h|^kernels/mat\\.c$"
  "onnx/onnx.pb-c.h|^(models/onnx|checker/net\\.c$)"
  "zlib.h|^(models/onnx_bytes|verifier/vnnlib_lex|verifier/certificate|verifier/cli_certificate|checker/base)\\.c$"
  "openssl/sha.h|^checker/base\\.c$"
  "gmp.h|^(checker/(query|exact)\\.c|encoders/rational\\.h)$"
  "png.h|^models/(dataset|image_png)\\.c$"
  "jansson.h|^verifier/json_out\\.c$"
  "z3.h|^encoders/backend_z3\\.c$"
  "glpk.h|^encoders/backend_glpk\\.c$"
  "picosat/picosat.h|^encoders/backend_picosat\\.c$")
set(n_bad 0)
set(n_files 0)
set(own_rank 0)
foreach(layer ${layers})
  math(EXPR own_rank "${own_rank} + 1")
  file(GLOB_RECURSE files RELATIVE ${SOURCE} ${SOURCE}/${layer}/*.c ${SOURCE}/${layer}/*.h ${SOURCE}/${layer}/*.def)
  foreach(file ${files})
    math(EXPR n_files "${n_files} + 1")
    file(STRINGS ${SOURCE}/${file} includes REGEX "^[ \t]*#[ \t]*include")
    foreach(line ${includes})
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]*)[>\"].*$" "\\1" target "${line}")
      string(REGEX REPLACE "/.*$" "" folder "${target}")
      list(FIND layers "${folder}" rank)
      math(EXPR rank "${rank} + 1")
      # checker/ is a program of its own: nothing of the layers goes in (and, being last, nothing of it goes out).
      if(layer STREQUAL checker AND rank GREATER 0 AND NOT folder STREQUAL checker)
        set(rank 99)
      endif()
      if(rank GREATER own_rank OR folder STREQUAL tests OR folder STREQUAL benchmarks)
        message("${file}: includes ${target}, which is not below ${layer}/")
        math(EXPR n_bad "${n_bad} + 1")
      endif()
      foreach(rule ${third_party})
        string(FIND "${rule}" "|" bar)
        string(SUBSTRING "${rule}" 0 ${bar} header)
        math(EXPR bar "${bar} + 1")
        string(SUBSTRING "${rule}" ${bar} -1 allowed)
        if(target STREQUAL header AND NOT file MATCHES "${allowed}")
          message("${file}: includes ${target}, which belongs in files matching ${allowed}")
          math(EXPR n_bad "${n_bad} + 1")
        endif()
      endforeach()
    endforeach()
  endforeach()
endforeach()
if(n_files EQUAL 0)
  message(FATAL_ERROR "${SOURCE}: no sources there")
elseif(n_bad GREATER 0)
  message(FATAL_ERROR "${n_bad} includes break the layers")
endif()
message("${n_files} files, all includes point down")
