# The tests run the real testudo-signer.
add_dependencies(${name} testudo-signer)
target_compile_definitions(${name} PRIVATE TD_SIGNER="$<TARGET_FILE:testudo-signer>")
set(TD_LINK "")
