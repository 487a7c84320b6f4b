set(AOTBUILD_TUNE_SOURCES
    bundle.cpp
    compare.cpp
    main.cpp
    measure.cpp
    results.cpp
    run.cpp
)
# Of the runtime, what opens the driver.
set(AOTBUILD_TUNE_RUNTIME_SOURCES
    cuda/device.cpp
    cuda/driver.cpp
    base/error.cpp
    base/system_posix.cpp
)
