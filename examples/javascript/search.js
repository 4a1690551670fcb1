// Search for films about crime, plain and reranked by a question.
//
//     node search.js [URL [INDEX]]

import { Client } from '@elastic/elasticsearch'

const [, , url = 'http://localhost:9201', index = 'rerank-proxy-demo-films'] = process.argv

const plain = { standard: { query: { multi_match: { query: 'crime', fields: ['plot', 'genre'] } } } }
const reranked = {
  text_similarity_reranker: {
    retriever: plain,
    field: 'plot',
    inference_text: 'flesh-eating bad guy'
  }
}

const client = new Client({ node: url })
for (const [name, retriever] of Object.entries({ Plain: plain, Reranked: reranked })) {
  const answer = await client.search({ index, retriever, size: 5 })
  console.log(name)
  for (const hit of answer.hits.hits) {
    console.log(`  ${hit._score.toFixed(4)}  ${hit._source.title}`)
  }
}
await client.close()
