terraform import sampan_config_map.cart shop/cart
