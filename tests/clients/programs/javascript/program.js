// Takes @elastic/elasticsearch through the steps of ../README.md.

import { readFileSync } from 'node:fs'
import { Client, errors } from '@elastic/elasticsearch'

const { ES_URL, INDEX, FILMS, RERANK, TLS_URL, CA_FINGERPRINT } = process.env
const AWAY = `${INDEX}-missing`
const films = JSON.parse(readFileSync(FILMS, 'utf8'))
const CRIME = { multi_match: { query: 'crime', fields: ['plot', 'genre'] } }
const reranker = {
  retriever: { standard: { query: CRIME } },
  field: 'plot',
  inference_text: 'flesh-eating bad guy',
  rank_window_size: 20
}
const PLAIN = { query: CRIME, size: 5 }
const RERANKED = { retriever: { text_similarity_reranker: reranker }, size: 5 }
const BEST = RERANK ? RERANKED : PLAIN

const connect = (options = {}) => new Client({ node: ES_URL, maxRetries: 0, requestTimeout: 60_000, ...options })
const client = connect()

const ids = answer => answer.hits.hits.map(hit => hit._id)
const found = answer => ({ ids: ids(answer), total: answer.hits.total.value })

/** Returns status and type of the client's own exception. */
async function refused (call) {
  try {
    await call()
  } catch (failure) {
    if (!(failure instanceof errors.ResponseError)) throw failure
    return [failure.statusCode, failure.body.error?.type ?? null]
  }
  throw new Error('nothing was raised')
}

async function msearch (body) {
  const { responses: [first, second] } = await client.msearch({
    searches: [{ index: INDEX }, body, { index: AWAY }, body]
  })
  return { ids: ids(first), status: [first.status, second.status] }
}

async function compressed (body) {
  const compressing = connect({ compression: true })
  const answer = await compressing.search({ index: INDEX, ...body })
  await compressing.close()
  return { ids: ids(answer) }
}

const plain = {
  async info () {
    const answer = await client.info({}, { meta: true })
    return { version: answer.body.version.number, product: answer.headers['x-elastic-product'] }
  },

  async index () {
    await client.indices.create({
      index: INDEX,
      settings: { number_of_replicas: 0 },
      mappings: { properties: { released: { type: 'integer' } } }
    })
    const { result } = await client.index({ index: INDEX, id: '0', document: films[0] })
    return { result }
  },

  async bulk () {
    const operations = films.flatMap((film, at) => [{ index: { _id: String(at) } }, film])
    const compressing = connect({ compression: true })
    const answer = await compressing.bulk({ index: INDEX, operations, refresh: true })
    await compressing.close()
    return { errors: answer.errors, items: answer.items.length }
  },

  async get () {
    return { title: (await client.get({ index: INDEX, id: '0' }))._source.title }
  },

  search: async () => found(await client.search({ index: INDEX, ...PLAIN })),

  msearch: () => msearch(PLAIN),

  async scroll () {
    let answer = await client.search({ index: INDEX, size: 5, scroll: '1m' })
    let count = 0
    while (answer.hits.hits.length > 0) {
      count += answer.hits.hits.length
      answer = await client.scroll({ scroll_id: answer._scroll_id, scroll: '1m' })
    }
    const { succeeded } = await client.clearScroll({ scroll_id: answer._scroll_id })
    return { count, closed: succeeded }
  },

  async 'point in time' () {
    const { id } = await client.openPointInTime({ index: INDEX, keep_alive: '1m' })
    const page = { pit: { id }, size: 5, sort: [{ released: 'asc' }] }
    let count = 0
    for (;;) {
      const { hits: { hits } } = await client.search(page)
      if (hits.length === 0) break
      count += hits.length
      page.search_after = hits.at(-1).sort
    }
    const { succeeded } = await client.closePointInTime({ id })
    return { count, closed: succeeded }
  },

  async aggregation () {
    const aggs = { min: { min: { field: 'released' } }, max: { max: { field: 'released' } } }
    const { aggregations: { min, max } } = await client.search({ index: INDEX, size: 0, aggs })
    return { min: min.value, max: max.value }
  },

  async errors () {
    return {
      missing: await refused(() => client.search({ index: AWAY, ...PLAIN })),
      invalid: await refused(() => client.search({ index: INDEX, ...PLAIN, size: 20_000 }))
    }
  },

  compression: () => compressed(PLAIN),

  async sniffing () {
    const sniffer = connect({ sniffOnStart: false })
    const nodes = await new Promise((resolve, reject) => {
      sniffer.diagnostic.on('sniff', (failure, result) => failure ? reject(failure) : resolve(result.meta.sniff.hosts))
      sniffer.transport.sniff({ reason: 'sniff-on-start', requestId: 1, context: null })
    })
    const urls = sniffer.connectionPool.connections.map(({ url }) => url.origin)
    const answer = await sniffer.search({ index: INDEX, ...BEST })
    await sniffer.close()
    return { stays: nodes.length > 0 && urls.every(url => url === ES_URL), ids: ids(answer) }
  },

  async concurrency () {
    const calls = Array.from({ length: 100 }, () => client.search({ index: INDEX, ...BEST }))
    const answers = (await Promise.all(calls)).map(answer => ids(answer).join())
    return { answers: answers.length, distinct: new Set(answers).size }
  }
}

const reranked = {
  'reranked search': async () => found(await client.search({ index: INDEX, ...RERANKED })),

  'reranked msearch': () => msearch(RERANKED),

  // --8<-- [start:async-search]
  async 'async search' () {
    const searches = client.asyncSearch
    // As a body: version 8 takes what it does not know, such as a retriever here, for the query string.
    let answer = await searches.submit({
      index: INDEX, body: RERANKED, wait_for_completion_timeout: '0ms', keep_on_completion: true
    })
    const { id } = answer
    while (answer.is_running) answer = await searches.get({ id, wait_for_completion_timeout: '30s' })
    const { completion_status: status } = await searches.status({ id })
    const { acknowledged: deleted } = await searches.delete({ id })
    const [after] = await refused(() => searches.get({ id }))
    return { ids: ids(answer.response), status, deleted, after }
  },
  // --8<-- [end:async-search]

  // --8<-- [start:inference]
  async inference () {
    const { inference } = client
    const inferenceId = `${INDEX}-endpoint`
    const made = await inference.put({
      task_type: 'rerank',
      inference_id: inferenceId,
      inference_config: {
        service: 'elasticsearch',
        service_settings: { model_id: 'minilm', num_allocations: 1, num_threads: 1 }
      }
    })
    const read = await inference.get({ inference_id: inferenceId })
    const all = await inference.get()
    const changed = await inference.update({
      inference_id: inferenceId, inference_config: { service_settings: { num_allocations: 2 } }
    })
    const input = ['Two bakers fall in love.', 'A cannibal helps to catch a killer.']
    const ranked = await inference.rerank({ inference_id: inferenceId, query: 'flesh-eating bad guy', input })
    const { acknowledged: deleted } = await inference.delete({ inference_id: inferenceId })
    const [after] = await refused(() => inference.get({ inference_id: inferenceId }))
    return {
      put: made.inference_id,
      get: read.endpoints.map(each => each.inference_id),
      listed: all.endpoints.some(each => each.inference_id === inferenceId),
      updated: changed.service_settings.num_allocations,
      ranked: ranked.rerank.map(each => each.index),
      deleted,
      after
    }
  },
  // --8<-- [end:inference]

  async 'reranked errors' () {
    const wrong = { text_similarity_reranker: { ...reranker, inference_id: AWAY } }
    return {
      missing: await refused(() => client.search({ index: INDEX, retriever: wrong })),
      invalid: await refused(() => client.search({ index: INDEX, ...RERANKED, size: 21 }))
    }
  },

  'reranked compression': () => compressed(RERANKED)
}

const tls = {
  async tls () {
    // --8<-- [start:tls]
    const secure = fingerprint => connect({
      node: TLS_URL, caFingerprint: fingerprint, tls: { rejectUnauthorized: false }
    })
    const trusting = secure(CA_FINGERPRINT)
    const answer = await trusting.search({ index: INDEX, ...BEST })
    await trusting.close()
    // --8<-- [end:tls]
    const other = secure('00'.repeat(32))
    try {
      await other.info()
      return { ids: ids(answer), refused: false }
    } catch (failure) {
      if (!(failure instanceof errors.ConnectionError)) throw failure
      return { ids: ids(answer), refused: true }
    } finally {
      await other.close()
    }
  }
}

for (const [step, run] of Object.entries({ ...plain, ...(RERANK && reranked), ...(TLS_URL && tls) })) {
  let line
  try {
    line = { step, result: await run() }
  } catch (failure) {
    line = { step, error: `${failure.name}: ${failure.message}` }
  }
  console.log(JSON.stringify(line))
}
await client.close()
