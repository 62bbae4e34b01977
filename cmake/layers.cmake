# A layer is one folder and one static library, linking only what is named (the layers below it).
function(ep_layer name)
  file(GLOB src CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.c ${CMAKE_SOURCE_DIR}/${name}/ops/*.c
    ${CMAKE_SOURCE_DIR}/${name}/train/*.c)
  list(FILTER src EXCLUDE REGEX "/main\\.c$")
  add_library(ep_${name} STATIC ${src})
  target_link_libraries(ep_${name} PUBLIC ${ARGN} ep_flags)
endfunction()
