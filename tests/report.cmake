ssmend_add_test(report_test SOURCES report/report_test.cc report/report_samples.cc
                LIBS ssmend_report)

# The same reports, written to files and read back by other programs' parsers.
add_executable(report_write report/report_write.cc report/report_samples.cc)
target_include_directories(report_write PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(report_write PRIVATE ssmend_report)
add_test(NAME report_formats_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/formats_test.py
                 $<TARGET_FILE:report_write>)
set_tests_properties(report_formats_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)

ssmend_add_test(pasted_text_test SOURCES report/pasted_text_test.cc LIBS ssmend_diagnose)

add_test(NAME report_browser_test
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/report/browser_test.py
                 $<TARGET_FILE:report_write>)
set_tests_properties(report_browser_test PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 400)
