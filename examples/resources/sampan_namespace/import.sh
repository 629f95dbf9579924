terraform import sampan_namespace.shop shop
