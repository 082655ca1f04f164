#pragma once
/* The .pc file's include path already ends in /modbus on Debian. */
#include <modbus.h>
