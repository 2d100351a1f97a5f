"""Images from other programs in, answers of a trained model out: over HTTP and in Telegram."""
