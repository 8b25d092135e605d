"""Operations on the bits of integers. Shifting by the width or more, or by a negative number, shifts everything out."""

from __future__ import annotations

import numpy as np

from .elementwise import elementwise

elementwise("bitwise_and", 2, np.bitwise_and, lanes="and", kinds="iu", commutative=True)
elementwise("bitwise_or", 2, np.bitwise_or, lanes="or", kinds="iu", commutative=True)
elementwise("bitwise_xor", 2, np.bitwise_xor, lanes="xor", kinds="iu", commutative=True)
elementwise("bitwise_invert", 1, np.invert, lanes="not", kinds="iu")
elementwise("bitwise_left_shift", 2, np.left_shift, lanes="shl", kinds="iu")
# Of a signed integer the sign comes in from the left.
elementwise("bitwise_right_shift", 2, np.right_shift, lanes="shr", kinds="iu")
