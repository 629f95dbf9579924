terraform import sampan_application.cart shop/cart
