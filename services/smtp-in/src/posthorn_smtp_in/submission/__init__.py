"""What only submission has (RFC 6409): extensions that ask something of the queue, and who may write as whom."""
