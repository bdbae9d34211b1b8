// Package booking sells scarce stock to a crowd: never one unit too many, at
// Redis's speed, with every confirmed order in Postgres.
//
// A Service ties the two sides together. Book takes the units from the
// inventory (package inventory), commits the order (package order), and answers
// only then. Run, in every process, keeps the two sides equal whatever happens
// to either.
//
//	shop, err := booking.New(booking.Config{
//		Inventory: inventory.NewRedis(redisClient),
//		Orders:    order.NewPostgres(pool),
//	})
//	go shop.Run(ctx)
//
//	err = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1000})
//	o, err := shop.Book(ctx, booking.Request{
//		ID: "4711", Customer: "c-17",
//		Lines: []order.Line{{SKU: "floor", Quantity: 2}},
//	})
package booking
