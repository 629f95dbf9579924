terraform import sampan_route.shop shop/shop
