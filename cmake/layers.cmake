# A layer is one folder and one static library, linking only what is named (the layers below it).
function(ep_layer name)
  file(GLOB src CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.c ${CMAKE_SOURCE_DIR}/${name}/ops/*.c
    ${CMAKE_SOURCE_DIR}/${name}/train/*.c)
  list(FILTER src EXCLUDE REGEX "/main\\.c$")
  add_library(ep_${name} STATIC ${src})
  target_link_libraries(ep_${name} PUBLIC ${ARGN} ep_flags)
endfunction()

# Solver back ends of encoders/backends.def that were found: defines EP_WITH_<ID>=1 and links the library; a missing one's
# file is left out and its name refused at run time.
function(ep_back_ends target)
  file(STRINGS ${CMAKE_SOURCE_DIR}/encoders/backends.def lines REGEX "^EP_BACKEND")
  get_target_property(src ${target} SOURCES)
  foreach(line ${lines})
    string(REGEX REPLACE "^EP_BACKEND\\(([A-Z0-9_]+), ([a-z0-9_]+),.*" "\\1;\\2" ids "${line}")
    list(GET ids 0 ID)
    list(GET ids 1 id)
    if(EP_${ID}_LIB)
      target_compile_definitions(${target} PRIVATE EP_WITH_${ID}=1)
      target_link_libraries(${target} PRIVATE ${EP_${ID}_LIB})
    else()
      target_compile_definitions(${target} PRIVATE EP_WITH_${ID}=0)
      list(FILTER src EXCLUDE REGEX "/backend_${id}\\.c$")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES SOURCES "${src}")
endfunction()
