terraform import sampan_gray_policy.careful shop/careful
